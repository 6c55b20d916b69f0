"""What an engine is given and denied before it runs its first line.

An engine reads files that strangers have made, and may itself be a stranger's. It gets an
environment that names nothing of ours, places of its own to write to, files that only its user can
read, no core dumps (they would hold prompts and keys), and on Linux no way to more privileges than
its agent has. It still runs as the agent's user: see ADR 0018 for what that means where.

Must not know what is started.
"""

import os
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from aimindserve.kit.log import get_logger

log = get_logger("runtime")

INHERITED = (
    *("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "TZ"),
    # Where vendors' installers and `module load` say that their libraries are.
    *("LD_LIBRARY_PATH", "CUDA_HOME", "CUDA_PATH", "ROCM_PATH", "HIP_PATH"),
    *("ASCEND_HOME_PATH", "ASCEND_TOOLKIT_HOME", "ASCEND_OPP_PATH", "ASCEND_AICPU_PATH"),
    # Every program on Windows needs these.
    *("SYSTEMROOT", "SYSTEMDRIVE", "PATHEXT", "COMSPEC"),
)
"""All that an engine gets of the agent's own environment. Which devices it sees is never inherited:
that is the placement's to say."""
UMASK = 0o077
SOCKET_ROOM = 67
"""Engines make sockets in their directory for temporary files, with names of up to forty letters;
the path of a socket has at most 107 (unix(7))."""
_NO_NEW_PRIVILEGES = 38
"""PR_SET_NO_NEW_PRIVS of prctl(2)."""

R = TypeVar("R")


def environment(inherited: Mapping[str, str], home: Path, scratch: Path) -> dict[str, str]:
    """What every engine has in its environment: the allow-list out of `inherited`, and places below
    its own `home` and `scratch` for everything that programs like to write somewhere."""
    found = {name: inherited[name] for name in INHERITED if name in inherited}
    found.update(dict.fromkeys(("TMPDIR", "TMP", "TEMP"), str(scratch)))
    if os.name == "nt":
        roaming, local = home / "AppData" / "Roaming", home / "AppData" / "Local"
        found |= {"USERPROFILE": str(home), "APPDATA": str(roaming), "LOCALAPPDATA": str(local)}
    else:
        found |= {
            "HOME": str(home),
            "XDG_CACHE_HOME": str(home / ".cache"),
            "XDG_CONFIG_HOME": str(home / ".config"),
            "XDG_DATA_HOME": str(home / ".local" / "share"),
            "XDG_STATE_HOME": str(home / ".local" / "state"),
            "XDG_RUNTIME_DIR": str(scratch),
        }
    return found | _user_site()


def scratch_dir(root: Path, token: str) -> Path:
    """The directory for temporary files of the process called `token`: below `root`, or where the
    system keeps such things if sockets in it would have too long a path."""
    inside = root / "tmp" / token[:12]
    if os.name == "nt" or len(str(inside)) <= SOCKET_ROOM:
        return inside
    import tempfile

    return Path(tempfile.gettempdir()) / f"aims-{token[:12]}"


def confined(start: Callable[[], R]) -> R:
    """Call `start`, which starts a process that can never gain privileges by what it executes.

    That is a property of a thread, and of all that the thread starts. So it runs in one of its own:
    tools that the agent starts elsewhere may need to be more than it is.
    """
    if sys.platform != "linux":
        return start()
    outcome: list[R] = []
    failure: list[BaseException] = []

    def work() -> None:
        try:
            _give_up_privileges()
            outcome.append(start())
        except BaseException as error:  # noqa: BLE001 - raised again by whoever waits for the thread
            failure.append(error)

    thread = threading.Thread(target=work, name="confined-start")
    thread.start()
    thread.join()
    if failure:
        raise failure[0]
    return outcome[0]


def limit(pid: int) -> None:
    """Deny core dumps to a process that has just been started, where the system lets us."""
    if sys.platform != "linux":
        return
    import resource

    try:
        resource.prlimit(pid, resource.RLIMIT_CORE, (0, 0))
    except OSError as error:  # it has ended already, or a sandbox forbids the call
        log.info("core.not_limited", pid=pid, error=str(error))


def _give_up_privileges() -> None:
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    if library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0) != 0:
        error = os.strerror(ctypes.get_errno())
        log.warning("privileges.not_given_up", error=error)


def _user_site() -> dict[str, str]:
    """Python looks for packages of `pip install --user` below the home it is told; ours, of which
    engines may be a part, lie below the real one."""
    import site

    if not site.ENABLE_USER_SITE:
        return {}
    return {"PYTHONUSERBASE": site.getuserbase()}
