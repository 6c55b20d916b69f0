"""Finding llama.cpp's own programs on this machine, and which build they are.

A build that has both the server and an RPC server is one installation. Its version is asked of the
server itself (`--version` loads no model), once for each file as it is: no file beside the programs
says it. All workers of one instance must have the same, since llama.cpp's RPC promises nothing
between two builds (`negotiate_hello` in ggml-rpc.cpp refuses another protocol version).
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path

from aimindserve.core.launch import Installation
from aimindserve.kit.log import get_logger

log = get_logger("worker")

NAME = "llama.cpp-rpc"
SERVER = "llama-server"
RPC_SERVERS = ("ggml-rpc-server", "rpc-server")
"""Called one or the other, by age."""
SUFFIX = ".exe" if sys.platform == "win32" else ""
ASK_S = 10.0
_BUILD = re.compile(
    r"^version: (?P<name>\S+) \((?:build (?P<build>\d+), commit )?(?P<commit>\w+)\)", re.MULTILINE
)
"""`version: 0.6.0 (build 11434, commit 0a1b2c3)`; older builds: `version: 5000 (0a1b2c3)`."""


def on_path(env: Mapping[str, str]) -> Iterable[Installation]:
    """The one that a shell with this PATH would start."""
    path = env.get("PATH")
    found = shutil.which(SERVER, path=path) if path else None
    return [] if found is None else in_directory(Path(found).resolve().parent, env)


def in_directory(place: Path, env: Mapping[str, str]) -> Iterable[Installation]:
    """What is in a directory of programs, or in its `bin`. `env`: variables by which programs find
    their libraries."""
    for folder in (place, place / "bin"):
        server = folder / (SERVER + SUFFIX)
        rpc = next((folder / (name + SUFFIX) for name in RPC_SERVERS
                    if (folder / (name + SUFFIX)).is_file()), None)  # fmt: skip
        if not folder.is_absolute() or not server.is_file() or rpc is None:
            continue
        version = _version_of(server, env)
        return [Installation(NAME, version, str(rpc))] if version else []
    return []


def version_in(text: str) -> str:
    """What `--version` printed, as one word: the build's number where it was built with one, else
    the release and the commit. Empty when it is something else."""
    found = _BUILD.search(text)
    if found is None:
        return ""
    build, commit = found["build"], found["commit"]
    if build and int(build):
        return build
    if not build:
        return found["name"]
    return found["name"] if commit == "unknown" else f"{found['name']}-{commit}"


def _version_of(server: Path, env: Mapping[str, str]) -> str:
    state = server.stat()
    return _asked(str(server), tuple(sorted(env.items())), state.st_mtime_ns, state.st_size)


@lru_cache(maxsize=16)
def _asked(server: str, env: tuple[tuple[str, str], ...], _changed_ns: int, _size: int) -> str:
    try:
        answer = subprocess.run(  # noqa: S603 - what the user named, or would start in a shell
            [server, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_S,
            check=False,
            env=dict(env),
        )
    except (OSError, subprocess.SubprocessError) as error:
        log.warning("installation.silent", path=server, error=str(error))
        return ""
    text = (answer.stdout + b"\n" + answer.stderr).decode("utf-8", "replace")
    version = version_in(text)
    if not version:
        log.warning("installation.silent", path=server, error=text.strip()[-200:])
    return version
