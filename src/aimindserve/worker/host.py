"""The machine as accelerator plugins may see it: run a tool, read a file; nothing else."""

import os
import subprocess

from aimindserve.accelerators.base import Host
from aimindserve.worker.inventory import read_text

OUTPUT_BYTES_MAX = 8 * 1024 * 1024
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/cuda/bin"


class SystemHost:
    """This machine. `name` is the worker's."""

    def __init__(self, name: str, path: str | None = None) -> None:
        """`path`: where tools are looked for, as in the PATH variable."""
        self.name = name
        self._path = path or (SYSTEM_PATH if os.name == "posix" else os.defpath)

    def run(self, *argv: str, timeout_s: float = 10.0) -> str | None:
        """Standard output of a vendor's tool, or None when there is none or it failed."""
        environment = {"PATH": self._path, "LANG": "C", "LC_ALL": "C"}
        try:
            done = subprocess.run(  # noqa: S603 - plugins name the tools; nothing comes from outside
                argv,
                env=environment if os.name == "posix" else None,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=timeout_s,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        if done.returncode != 0:
            return None
        return done.stdout[:OUTPUT_BYTES_MAX].decode("utf-8", "replace")

    def read(self, path: str) -> str | None:
        """A text file's content, or None."""
        return read_text(path)


class NamedHost:
    """A host under the name that the server gave to this worker."""

    def __init__(self, host: Host, name: str) -> None:
        self._host = host
        self.name = name

    def run(self, *argv: str, timeout_s: float = 10.0) -> str | None:
        return self._host.run(*argv, timeout_s=timeout_s)

    def read(self, path: str) -> str | None:
        return self._host.read(path)
