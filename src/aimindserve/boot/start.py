"""What `start` does once it knows its settings: check, create secrets, and supervise the parts.

at once  control plane ends watches and followed logs, which never end by themselves
stage 0  gateways      finish the requests they have
stage 1  worker        ends its inference backends
stage 2  control plane
"""

import json
import os
import socket
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from aimindserve.boot.database import check_database
from aimindserve.boot.handover import write_handover
from aimindserve.boot.order import Order
from aimindserve.boot.places import Places, places_of
from aimindserve.boot.preflight import prepare, raise_open_files
from aimindserve.boot.presence import announce
from aimindserve.boot.process import Command
from aimindserve.boot.settings import Settings, declared, environment, this_machine
from aimindserve.boot.supervisor import Role, Supervisor
from aimindserve.boot.welcome import local_url
from aimindserve.kit.clock import SystemClock
from aimindserve.kit.secrets import new_secret, write_private

GATEWAY_LIMIT_S = 25.0
WORKER_LIMIT_S = 60.0
"""Half a minute for answers under way, ten seconds for engines to end, ten to be killed, and what
the agent tells the server."""
CONTROL_LIMIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Start:
    """One start: settings, how lines reach people, and what to do when everything is up."""

    settings: Settings
    tell: Callable[[str], None]
    on_ready: Callable[[], None] | None = None
    on_stop: Callable[[], None] | None = None
    notes: Sequence[str] = ()
    """What to tell once it is certain that this start goes on."""
    origins: Mapping[str, str] = field(default_factory=dict[str, str])
    """Where each setting comes from, for messages about it."""
    control: Sequence[str] = ("aimindserve.boot.control",)
    """The module of the control plane's process, and further arguments for it."""


def start(what: Start) -> int:
    """Run until told to stop; returns the exit code. Raises StartError or SettingsError before
    anything has been started."""
    settings = what.settings
    places = replace(places_of(settings), control_port=_control_port())
    lock = prepare(settings, places)
    try:
        away = _check_database(what, places)
    except BaseException:
        lock.release()
        raise
    for note in what.notes:
        what.tell(note)
    if away:
        what.tell(f"warning: {away}")
    raise_open_files()
    handover = write_handover(settings, places)
    left = [handover, places.address, places.operator_credential]
    try:
        if not settings.worker_only:
            write_private(places.operator_credential, new_secret() + "\n")
            write_private(places.address, json.dumps({"url": local_url(settings)}) + "\n")
            left += _announce(settings, places, what.tell)
        supervisor = Supervisor(
            list(roles(settings, places, handover, what.control)),
            SystemClock(),
            what.tell,
            debug=settings.general.debug,
            on_ready=what.on_ready,
            on_stop=what.on_stop,
        )
        return supervisor.run()
    finally:
        for file in left:
            file.unlink(missing_ok=True)
        places.control_socket.unlink(missing_ok=True)
        lock.release()


def _announce(settings: Settings, places: Places, tell: Callable[[str], None]) -> Sequence[Path]:
    """Let commands of this user find this server; the files to remove at the end."""
    url = local_url(settings)
    try:
        return [announce(this_machine(), url, places.data_dir)]
    except OSError as error:
        tell(f"commands on this machine need --server {url}: {error.strerror or error}")
        return []


def _check_database(what: Start, places: Places) -> str:
    if what.settings.worker_only:
        return ""
    origin = what.origins.get("database_url", "default")
    return check_database(what.settings, places, child_environment(environment()), origin)


def roles(
    settings: Settings, places: Places, handover: Path, control: Sequence[str]
) -> Iterator[Role]:
    """The children that this machine needs."""
    environ = child_environment(environment())

    def role(name: str, module: str, stage: int, limit_s: float, *words: str) -> Role:
        argv = (sys.executable, "-m", module, str(handover), *words)
        command = Command(name, argv, places.run_dir, environ)
        return Role(command, places.log_dir / f"{name}.log", stage, limit_s)

    if not settings.worker_only:
        server = role("server", control[0], 2, CONTROL_LIMIT_S, *control[1:])
        yield replace(server, warning=Order.END_STREAMS)
        count = settings.server.gateway_processes
        for number in range(1, count + 1):
            name = "gateway" if count == 1 else f"gateway-{number}"
            yield role(name, "aimindserve.boot.gateway", 0, GATEWAY_LIMIT_S, str(number))
    if settings.worker_only or not settings.server.disable_worker:
        yield role("worker", "aimindserve.boot.worker", 1, WORKER_LIMIT_S)


def child_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Ours without our settings, which children read from their file, and which may be secret.

    Children run in another directory, so a relative PYTHONPATH is made absolute.
    """
    ours = {item.env for item in declared().values()}
    kept = {
        key: value
        for key, value in environ.items()
        if key not in ours and not key.startswith("GPUSTACK_")
    }
    search = kept.get("PYTHONPATH")
    if search:
        entries = (str(Path(entry).absolute()) for entry in search.split(os.pathsep) if entry)
        kept["PYTHONPATH"] = os.pathsep.join(entries)
    # Standard output carries the ready line: it must not wait in a buffer.
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _control_port() -> int:
    """A free loopback port where there are no unix sockets, else 0."""
    if sys.platform != "win32":
        return 0
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])
