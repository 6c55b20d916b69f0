"""What goes wrong, one function per kind: it breaks something, waits, and mends it.

Faults of different kinds overlap in time, but never on the same machine or twice on the server:
what two of them mean together on one machine is a third kind, and would be written as one.
"""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aimindserve.sim.cluster import Cluster

SWIZZLED = 0.4
"""Share of the machines whose lines are cut one by one."""


@dataclass(slots=True)
class Trouble:
    """What a fault works with; remembers who is in trouble already."""

    cluster: Cluster
    rng: random.Random
    busy: dict[str, None]

    def take(self) -> str | None:
        """A machine that nothing is wrong with, now taken; None when there is none."""
        free = [name for name in self.cluster.machines if name not in self.busy]
        if not free:
            return None
        name = self.rng.choice(free)
        self.busy[name] = None
        return name

    def release(self, name: str) -> None:
        """Nothing is wrong with it any more."""
        self.busy.pop(name, None)

    async def wait(self, seconds: float) -> None:
        """Let the fault last."""
        await self.cluster.clock.sleep(seconds)


FaultKind = Callable[[Trouble, float], Awaitable[None]]
SERVER = "the server"


async def agent_crash(trouble: Trouble, lasts_s: float) -> None:
    """The agent dies and comes back; the engines live on."""
    name = trouble.take()
    if name is not None:
        machine = trouble.cluster.machines[name]
        trouble.cluster.trace.add("fault.agent_crash", name)
        await machine.crash_agent()
        await trouble.wait(lasts_s)
        machine.start_agent()
        trouble.release(name)


async def reboot(trouble: Trouble, lasts_s: float) -> None:
    """The machine loses power with everything on it, and boots again."""
    name = trouble.take()
    if name is not None:
        machine = trouble.cluster.machines[name]
        trouble.cluster.trace.add("fault.reboot", name)
        await machine.power_off()
        await trouble.wait(lasts_s)
        machine.start_agent()
        trouble.release(name)


async def partition(trouble: Trouble, lasts_s: float) -> None:
    """Nothing passes between one machine and the server, or only one way."""
    name = trouble.take()
    if name is not None:
        up, down = trouble.rng.choice([(True, True), (True, False), (False, True)])
        trouble.cluster.trace.add("fault.partition", name, up, down)
        trouble.cluster.lines[name].cut(up=up, down=down)
        await trouble.wait(lasts_s)
        trouble.cluster.lines[name].heal()
        trouble.release(name)


async def slow(trouble: Trouble, lasts_s: float) -> None:
    """Every message takes its time."""
    name = trouble.take()
    if name is not None:
        line = trouble.cluster.lines[name]
        before, line.latency_s = line.latency_s, (0.3, 4.0)
        trouble.cluster.trace.add("fault.slow", name)
        await trouble.wait(lasts_s)
        line.latency_s = before
        trouble.release(name)


async def lossy(trouble: Trouble, lasts_s: float) -> None:
    """Messages are lost, repeated and overtaken."""
    name = trouble.take()
    if name is not None:
        line = trouble.cluster.lines[name]
        line.loss, line.twice, line.late = 0.15, 0.15, 0.2
        trouble.cluster.trace.add("fault.lossy", name)
        await trouble.wait(lasts_s)
        line.loss = line.twice = line.late = 0.0
        trouble.release(name)


async def swizzle(trouble: Trouble, lasts_s: float) -> None:
    """Lines are cut one after the other and mended in another order."""
    count = max(1, int(len(trouble.cluster.machines) * SWIZZLED))
    taken = [name for name in (trouble.take() for _ in range(count)) if name is not None]
    trouble.cluster.trace.add("fault.swizzle", *taken)
    for name in taken:
        trouble.cluster.lines[name].cut()
        await trouble.wait(trouble.rng.uniform(0.0, 2.0))
    await trouble.wait(lasts_s)
    trouble.rng.shuffle(taken)
    for name in taken:
        trouble.cluster.lines[name].heal()
        trouble.release(name)
        await trouble.wait(trouble.rng.uniform(0.0, 2.0))


async def blackout(trouble: Trouble, lasts_s: float) -> None:
    """The server sees nobody: its own network is gone."""
    names = [name for name in trouble.cluster.machines if name not in trouble.busy]
    trouble.cluster.trace.add("fault.blackout")
    for name in names:
        trouble.busy[name] = None
        trouble.cluster.lines[name].cut()
    await trouble.wait(lasts_s)
    for name in names:
        trouble.cluster.lines[name].heal()
        trouble.release(name)


async def server_restart(trouble: Trouble, lasts_s: float) -> None:
    """The server is killed and started again on the same database."""
    if SERVER not in trouble.busy:
        trouble.busy[SERVER] = None
        await trouble.cluster.kill_server()
        await trouble.wait(lasts_s)
        await trouble.cluster.start_server()
        trouble.release(SERVER)


async def server_stall(trouble: Trouble, lasts_s: float) -> None:
    """The server's event loop does not run for a while."""
    if SERVER not in trouble.busy:
        trouble.busy[SERVER] = None
        trouble.cluster.stall_server()
        await trouble.wait(lasts_s)
        trouble.cluster.resume_server()
        trouble.release(SERVER)


async def engine_crash(trouble: Trouble, _lasts_s: float) -> None:
    """One engine is killed from outside."""
    name = trouble.rng.choice(list(trouble.cluster.machines))
    runtime = trouble.cluster.machines[name].runtime
    living = list(runtime.living)
    if living:
        handle = trouble.rng.choice(living)
        trouble.cluster.trace.add("fault.engine_crash", name, handle.instance)
        runtime.kill(handle.token)


async def engine_hang(trouble: Trouble, _lasts_s: float) -> None:
    """One engine lives on and answers no more."""
    name = trouble.rng.choice(list(trouble.cluster.machines))
    runtime = trouble.cluster.machines[name].runtime
    living = list(runtime.living)
    if living:
        handle = trouble.rng.choice(living)
        trouble.cluster.trace.add("fault.engine_hang", name, handle.instance)
        runtime.rewrite(handle.token, hang_after_s=0.0)


async def foreign(trouble: Trouble, lasts_s: float) -> None:
    """Somebody else uses a device for a while."""
    name = trouble.rng.choice(list(trouble.cluster.machines))
    accelerator = trouble.cluster.machines[name].accelerator
    device = trouble.rng.choice(accelerator.devices)
    if accelerator.foreign.get(device.id):
        return
    accelerator.foreign[device.id] = int(device.memory_bytes * trouble.rng.uniform(0.05, 0.6))
    trouble.cluster.trace.add("fault.foreign", device.id)
    await trouble.wait(lasts_s)
    del accelerator.foreign[device.id]


async def telemetry(trouble: Trouble, lasts_s: float) -> None:
    """A driver's tool goes on telling what was so before."""
    name = trouble.rng.choice(list(trouble.cluster.machines))
    accelerator = trouble.cluster.machines[name].accelerator
    if accelerator.stuck is None:
        accelerator.stuck = accelerator.look()
        trouble.cluster.trace.add("fault.telemetry", name)
        await trouble.wait(lasts_s)
        accelerator.stuck = None


async def engine_oom(trouble: Trouble, lasts_s: float) -> None:
    """The system kills one engine for lack of memory, and again as soon as it is back."""
    name = trouble.rng.choice(list(trouble.cluster.machines))
    machine = trouble.cluster.machines[name]
    living = list(machine.runtime.living)
    if not living:
        return
    victim = trouble.rng.choice(living)
    trouble.cluster.trace.add("fault.engine_oom", name, victim.instance)
    until = trouble.cluster.clock.monotonic() + lasts_s
    while trouble.cluster.clock.monotonic() < until:
        for handle in machine.runtime.living:
            if handle.placement_id == victim.placement_id:
                machine.oom_kills += 1
                machine.runtime.kill(handle.token)
        await trouble.wait(1.0)


FAULTS: Mapping[str, FaultKind] = {
    kind.__name__: kind
    for kind in (
        agent_crash,
        reboot,
        partition,
        slow,
        lossy,
        swizzle,
        blackout,
        server_restart,
        server_stall,
        engine_crash,
        engine_hang,
        engine_oom,
        foreign,
        telemetry,
    )
}
