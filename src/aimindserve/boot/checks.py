"""Rules between settings, which no single value can break alone. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from aimindserve.boot.settings import Settings, declared

ENVIRONMENT, FLAG = "environment ", "flag "
"""How the origins of such values begin."""
UNSET = (
    "unset GPUSTACK_SERVER_URL to run a server here (commands take --server, "
    "or remember the server of `aimindserve login`)"
)


@dataclass(frozen=True, slots=True)
class Mistake:
    """One wrong setting: what it is called, what was given, where, and what is allowed."""

    key: str
    value: object
    origin: str
    allowed: str

    def sentence(self) -> str:
        """`port = 0 (flag --port): a port from 1 to 65535 is allowed.`"""
        given = "" if self.value in ("", None) else f" = {self.value!r}"
        return f"{self.key}{given} ({self.origin}): needs {self.allowed}."


def contradictions(settings: Settings, origins: Mapping[str, str], platform: str) -> list[Mistake]:
    """Every rule that the settings break together."""

    def mistake(key: str, value: object, allowed: str) -> Mistake:
        return Mistake(key, value, origins.get(key, "not given"), allowed)

    found: list[Mistake] = []
    for check in (_worker_mode, _tls, _cors, _ports, _ranges):
        found.extend(mistake(*broken) for broken in check(settings))
    if settings.worker_only and origins.get("server_url", "").startswith(ENVIRONMENT):
        found = [*(_with_advice(each) for each in found), *_worker_by_surprise(origins)]
    if settings.ray.enable_ray and platform != "linux":
        found.append(mistake("enable_ray", True, "Linux; Ray does not run several hosts elsewhere"))
    if settings.server.gateway_processes > 1 and platform != "linux":
        found.append(
            mistake(
                "gateway_processes",
                settings.server.gateway_processes,
                "1 on this system, where processes cannot share a port",
            )
        )
    return found


Broken = tuple[str, object, str]


def _with_advice(mistake: Mistake) -> Mistake:
    """Who only told commands where their server is may not have meant to start a worker."""
    if mistake.key not in ("token", "disable_worker"):
        return mistake
    return replace(mistake, allowed=f"{mistake.allowed}; {UNSET}")


def _worker_by_surprise(origins: Mapping[str, str]) -> Iterator[Mistake]:
    """Flags of a server, while a variable makes a worker of this machine: one of both is meant."""
    for name, item in declared().items():
        if item.section == "server" and name != "disable_worker":
            origin = origins.get(name, "")
            if origin.startswith(FLAG):
                yield Mistake(
                    name, "", origin, f"no server_url ({origins['server_url']}) beside it; {UNSET}"
                )


def _worker_mode(settings: Settings) -> Iterator[Broken]:
    if not settings.worker_only:
        return
    if settings.general.token is None:
        yield (
            "token",
            None,
            "a value when server_url is given: the text in `<data-dir>/token` on the server",
        )
    if settings.server.disable_worker:
        yield "disable_worker", True, "no server_url beside it: with both there is nothing to run"


def _tls(settings: Settings) -> Iterator[Broken]:
    key, certificate = settings.server.ssl_keyfile, settings.server.ssl_certfile
    if (key is None) != (certificate is None):
        given, missing = (
            ("ssl_keyfile", "ssl_certfile")
            if certificate is None
            else ("ssl_certfile", "ssl_keyfile")
        )
        yield given, str(key or certificate), f"{missing} beside it: both or neither"


def _cors(settings: Settings) -> Iterator[Broken]:
    server = settings.server
    if server.enable_cors and server.allow_credentials and "*" in server.allow_origins:
        yield (
            "allow_credentials",
            True,
            "origins by name in allow_origins: with `*` every web page could act for its visitor",
        )


def _ports(settings: Settings) -> Iterator[Broken]:
    """Two listeners of one machine cannot have one port, nor sit in a range given away."""
    works = settings.worker_only or not settings.server.disable_worker
    listeners = {}
    if not settings.worker_only:
        listeners = {
            "port": settings.server.port,
            "server_metrics_port": settings.server.server_metrics_port,
        }
    if works:
        listeners["worker_port"] = settings.worker.worker_port
    if works and not settings.worker.disable_metrics:
        listeners["metrics_port"] = settings.worker.metrics_port
    low, high = settings.worker.service_port_range
    taken: dict[int, str] = {}
    for key, port in listeners.items():
        if port in taken:
            yield key, port, f"another port than {taken[port]}"
        elif works and low <= port <= high:
            yield key, port, f"a port outside service_port_range {low}-{high}"
        taken[port] = key


def _ranges(settings: Settings) -> Iterator[Broken]:
    service, rpc = settings.worker.service_port_range, settings.worker.rpc_server_port_range
    if settings.worker.disable_rpc_servers:
        return
    if service[0] <= rpc[1] and rpc[0] <= service[1]:
        yield (
            "rpc_server_port_range",
            f"{rpc[0]}-{rpc[1]}",
            f"ports apart from service_port_range {service[0]}-{service[1]}",
        )
