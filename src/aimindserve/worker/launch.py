"""From an assignment to the process that serves it: context, exposure, environment. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from aimindserve.accelerators.base import Accelerator
from aimindserve.backends.base import Backend
from aimindserve.core.device import Device
from aimindserve.core.errors import NotFoundError, UnsupportedError
from aimindserve.core.launch import (
    Assignment,
    Exposure,
    Installation,
    LaunchContext,
    LaunchSpec,
    Probe,
)
from aimindserve.core.report import FileObservation
from aimindserve.runtimes.base import RunPlace
from aimindserve.worker import environment


@dataclass(frozen=True, slots=True)
class Bench:
    """What this worker launches with."""

    worker: str
    backends: Mapping[str, Backend]
    accelerators: Mapping[str, Accelerator]
    devices: Mapping[str, Sequence[Device]]
    """What each accelerator plugin found here."""
    cpu_count: int
    installations: tuple[Installation, ...] = ()
    tunnels: Callable[[Assignment], tuple[tuple[str, int], ...]] = lambda _: ()
    """(worker, loopback port) of each further worker of an instance that is led from here."""


@dataclass(frozen=True, slots=True)
class Launch:
    """Ready to be handed to a runtime."""

    spec: LaunchSpec
    probe: Probe


def prepare(
    assignment: Assignment, file: FileObservation, port: int, place: RunPlace, bench: Bench
) -> Launch:
    """The process for `assignment`. Raises AimsError, with `params["reason"]` where known."""
    name = assignment.placement.backend or assignment.backend
    backend = _backend(name, bench)
    if backend is None:
        raise NotFoundError(
            f"There is no backend called {name}.",
            params={"reason": "backend_unknown", "known": ", ".join(bench.backends) or "none"},
        )
    bad = environment.refuse(assignment.backend, assignment.options.env)
    if bad is not None:
        raise UnsupportedError(bad.message, params={"reason": "bad_param", **bad.params})
    exposure = expose(assignment, bench)
    context = LaunchContext(
        assignment=assignment,
        rank=place.rank,
        model_path=file.path,
        facts=file.facts,
        port=port,
        secret=place.secret,
        run_dir=place.run_dir,
        cpu_count=bench.cpu_count,
        exposure=exposure,
        installations=bench.installations,
        tunnels=bench.tunnels(assignment),
    )
    spec = backend.launch(context)
    env = {**dict(spec.env), **dict(assignment.options.env), **dict(exposure.env)}
    ready = replace(spec, env=tuple(env.items()), port=port)
    return Launch(ready, backend.probe(context))


def _backend(name: str, bench: Bench) -> Backend | None:
    if name in bench.backends:
        return bench.backends[name]
    named = (one for one in bench.backends.values() if name in one.aliases)
    return next(named, None)


def first_rank(assignment: Assignment, worker: str) -> int:
    """The rank that this worker's process plays; one process serves all ranks on one worker."""
    ranks = assignment.placement.ranks
    return next((at for at, rank in enumerate(ranks) if rank.worker == worker), 0)


def expose(assignment: Assignment, bench: Bench) -> Exposure:
    """Exactly the claimed devices; every other device of this machine is hidden."""
    claimed = {
        claim.device
        for rank in assignment.placement.ranks
        if rank.worker == bench.worker
        for claim in rank.claims
        if not claim.device.endswith(":ram")
    }
    known = {device.id for devices in bench.devices.values() for device in devices}
    missing = sorted(claimed - known)
    if missing:
        raise NotFoundError(
            f"{missing[0]} is not there any more.",
            params={"reason": "device_missing", "device": missing[0]},
        )
    env: list[tuple[str, str]] = []
    pretended = False
    for name, devices in bench.devices.items():
        mine = [device for device in devices if device.id in claimed]
        exposed = bench.accelerators[name].expose(mine)
        env.extend(exposed.env)
        pretended = pretended or exposed.pretended
    return Exposure(tuple(env), pretended)
