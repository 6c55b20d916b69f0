"""Which of the engines on a machine a backend starts: chosen from what the worker found."""

from aimindserve.core.errors import UnsupportedError
from aimindserve.core.launch import Installation, LaunchContext


def installation(context: LaunchContext, name: str) -> Installation:
    """The installation called `name`, in the version that the deployment pins, else the first that
    the worker names. Raises UnsupportedError when there is none."""
    wanted = context.assignment.options.backend_version
    for found in context.installations:
        if found.name == name and wanted in (None, found.version):
            return found
    version = "" if wanted is None else f" {wanted}"
    raise UnsupportedError(
        f"{name}{version} is not installed on this worker.",
        hint=f"Install it there, or say where it is: --backend-paths {name}=PATH",
        params={"reason": "backend_missing", "backend": f"{name}{version}"},
    )
