"""What the agent is told about itself. Boot fills it in; nothing here reads the environment."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from aimindserve.core.device import Reserved

PORT = 10150
METRICS_PORT = 10151
SERVICE_PORTS = (40000, 40063)
TUNNEL_PORTS = (40064, 40095)


@dataclass(frozen=True, slots=True)
class WorkerConfig:
    """Settings of one worker agent."""

    server_url: str
    """`http://…`, `https://…`, or `unix:///path` for a control plane on this machine."""
    token: str = field(repr=False)
    """The shared join token; used to register, never afterwards."""
    data_dir: Path
    """The agent keeps its things in `<data_dir>/worker`."""
    log_dir: Path
    cache_dir: Path
    name: str
    explicit_name: bool = False
    """The user chose the name: a clash is an error instead of a new name."""
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    ip: str | None = None
    """Under which the server reaches this worker; found out when empty."""
    bind: str = "0.0.0.0"  # noqa: S104 - gateways on other machines must reach the proxy
    port: int = PORT
    service_port_range: tuple[int, int] = SERVICE_PORTS
    """Inclusive; engines listen there on loopback."""
    tunnel_port_range: tuple[int, int] = TUNNEL_PORTS
    """Inclusive; engines reach their processes on other workers there, on loopback."""
    lends_devices: bool = True
    """Takes part in instances of llama.cpp over several workers."""
    metrics: bool = True
    metrics_bind: str = "0.0.0.0"  # noqa: S104 - Prometheus scrapes from elsewhere
    metrics_port: int = METRICS_PORT
    reserved: Reserved = field(default_factory=Reserved)
    ca_file: Path | None = None
    """Trusted for the server besides the system's authorities."""
    backend_paths: tuple[str, ...] = ()
    """`NAME=PATH`: interpreters and directories of engines that are installed here."""
    program_env: Mapping[str, str] = field(default_factory=dict[str, str])
    """The PATH, where engines are looked for too, and the variable by which they find libraries."""
    runtime: str = "process"
    serve: bool = True
    """Answer on `port` and `metrics_port`; a simulated worker does not."""
    stop_engines_on_exit: bool = True
    """An orderly end of the agent ends its engines too; a crash never does."""

    @property
    def root(self) -> Path:
        """The agent's own directory."""
        return self.data_dir / "worker"
