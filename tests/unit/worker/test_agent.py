"""The whole agent on virtual time, with the fake runtime and a server in memory."""

import asyncio
import random
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from aimindserve.core.errors import ExistsError, UnauthenticatedError, UnavailableError
from aimindserve.core.report import Ack, Presence, RunState
from aimindserve.runtimes.fake import FakeRuntime, Script
from aimindserve.sim.clock import SimClock
from aimindserve.sim.loop import run_virtual
from aimindserve.worker.agent import Agent
from aimindserve.worker.config import WorkerConfig
from aimindserve.worker.link import Identity
from aimindserve.worker.simulated import (
    EXAMPLE_MACHINE,
    FakeMachine,
    GivenFiles,
    KeptInMemory,
    simulated_edges,
)
from unit.worker.world import FACTS, PlainBackend, desired, wanted

LEAVING = Presence.LEAVING


class Host:
    name = "w1"

    def run(self, *argv, timeout_s=10.0):
        return None

    def read(self, path):
        return None


@dataclass
class Server:
    """The worker protocol in memory."""

    sets: asyncio.Queue = field(default_factory=asyncio.Queue)
    reports: list = field(default_factory=list)
    credential: str = "c1"
    registered: int = 0
    away: bool = False
    refuses: Exception | None = None

    async def register(self, hello):
        self.check_away()
        if self.refuses is not None:
            raise self.refuses
        self.registered += 1
        return Identity(hello.name, self.credential, "proxy-key")

    async def desired(self, identity):
        while True:
            self.check(identity)
            item = await self.sets.get()
            if item is None:
                raise UnavailableError("cut")
            yield item

    async def report(self, identity, report):
        self.check(identity)
        self.reports.append((asyncio.get_running_loop().time(), report))
        return Ack(10.0, 0)

    async def aclose(self):
        pass

    def check(self, identity):
        self.check_away()
        if identity.credential != self.credential:
            raise UnauthenticatedError("who are you?")

    def check_away(self):
        if self.away:
            raise UnavailableError("nobody is there")

    @property
    def seen(self):
        return dict(self.reports[-1][1].instances)

    def states(self, instance):
        """Every state that was told, without repetitions."""
        told = [dict(report.instances).get(instance) for _, report in self.reports]
        states = [one.state if one else None for one in told]
        return [s for n, s in enumerate(states) if n == 0 or s is not states[n - 1]]


class Bench:
    """One machine on which agents come and go."""

    def __init__(self, play=None):
        self.clock = SimClock()
        self.server = Server()
        self.runtime = FakeRuntime(Path("/x"), self.clock, play)
        self.memory = KeptInMemory("machine-1")
        self.files = GivenFiles({"/models/m.gguf": FACTS})
        self.config = WorkerConfig(
            "http://x", "token", Path("/d"), Path("/l"), Path("/c"), "w1", serve=False
        )

    def agent(self):
        machine = FakeMachine(EXAMPLE_MACHINE, {}, Host())
        edges = simulated_edges(
            self.runtime, machine, files=self.files, memory=self.memory, rng=random.Random(1)
        )
        return Agent(
            self.config, self.server, self.runtime, {"b": PlainBackend()}, {}, {},
            self.clock, Host(), edges=edges,
        )  # fmt: skip

    @asynccontextmanager
    async def running(self, *, crash=False):
        if crash:
            self.config = replace(self.config, stop_engines_on_exit=False)
        agent = self.agent()
        task = asyncio.get_running_loop().create_task(agent.run())
        try:
            yield agent
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def want(self, *assignments, revision=1):
        await self.server.sets.put(desired(*assignments, revision=revision))


def test_an_instance_becomes_ready_and_the_end_is_orderly():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            assert bench.server.states("i1")[-1] is RunState.READY
            assert bench.server.reports[-1][1].desired_revision == 1
            assert len(bench.runtime.living) == 1
        assert bench.runtime.living == []
        assert RunState.STOPPING in bench.server.states("i1")

    run_virtual(main())


def test_the_end_is_told_before_and_after_the_engines():
    async def main():
        bench = Bench(lambda _spec, _place: Script(load_s=0.1, stop_s=2.0))
        living = []
        report = bench.server.report

        async def counting(identity, told):
            living.append((told.worker.presence, len(bench.runtime.living)))
            return await report(identity, told)

        bench.server.report = counting
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
        assert living[-2:] == [(Presence.LEAVING, 1), (Presence.LEFT, 0)]
        assert {presence for presence, _ in living[:-2]} == {Presence.HERE}
        leaving, left = (dict(told.instances) for _, told in bench.server.reports[-2:])
        assert leaving["i1"].state is RunState.STOPPING
        assert left == {}

    run_virtual(main())


def test_an_ending_agent_lets_answers_finish_first():
    async def main():
        bench = Bench(lambda _spec, _place: Script(load_s=0.1, stop_s=0.1))
        async with bench.running() as agent:
            await bench.want(wanted())
            await asyncio.sleep(3)
            token = bench.runtime.living[0].token
            agent.traffic.begin(token)

            async def answered():
                await asyncio.sleep(7)
                alive.append(len(bench.runtime.living))
                agent.traffic.end(token)

            alive = []
            answer = asyncio.get_running_loop().create_task(answered())
        await answer
        (told,) = [at for at, said in bench.server.reports if said.worker.presence is LEAVING]
        assert alive == [1]
        assert 7 <= bench.clock.monotonic() - told < 8

    run_virtual(main())


def test_an_engine_that_cannot_be_ended_is_not_told_to_be_gone():
    async def main():
        bench = Bench()

        async def stuck(_handle, _grace_s):
            raise UnavailableError("it hangs in a driver")

        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            bench.runtime.stop = stuck
        assert bench.server.reports[-1][1].worker.presence is LEAVING

    run_virtual(main())


def test_an_agent_may_be_stopped_at_any_step_of_its_start():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
        recover = bench.runtime.recover

        async def slowly():
            for _ in range(5):
                await asyncio.sleep(0)
            return await recover()

        bench.runtime.recover = slowly
        for steps in range(20):
            task = asyncio.get_running_loop().create_task(bench.agent().run())
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            (ended,) = await asyncio.gather(task, return_exceptions=True)
            assert isinstance(ended, asyncio.CancelledError), (steps, ended)
        assert bench.runtime.living == []

    run_virtual(main())


@pytest.mark.parametrize("jump_s", [-86_400.0, 86_400.0])
def test_a_clock_that_is_set_neither_hurries_nor_delays_anything(jump_s):
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            bench.runtime.kill(bench.runtime.living[0].token)
            await asyncio.sleep(0.5)
            bench.clock.skew_s += jump_s
            await asyncio.sleep(6.5)
            seen = bench.server.seen["i1"]
            assert (seen.state, seen.run, seen.restarts) == (RunState.READY, 2, 1)
            count = len(bench.server.reports)
            await asyncio.sleep(100)
            assert len(bench.server.reports) == count + 10
            assert bench.server.seen["i1"] == seen

    run_virtual(main())


def test_a_crash_says_nothing():
    async def main():
        bench = Bench()
        async with bench.running(crash=True):
            await bench.want(wanted())
            await asyncio.sleep(3)
        assert {said.worker.presence for _, said in bench.server.reports} == {Presence.HERE}

    run_virtual(main())


def test_without_a_server_the_end_is_not_held_up():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            bench.server.report = lambda _identity, _report: asyncio.sleep(3600)
            began = bench.clock.monotonic()
        assert bench.clock.monotonic() - began < 5
        assert bench.runtime.living == []

    run_virtual(main())


def test_engines_that_were_ended_on_purpose_are_not_called_crashed():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            again = bench.server.seen["i1"]
            assert again.state is RunState.READY
            assert (again.run, again.restarts, again.ended) == (2, 0, None)

    run_virtual(main())


def test_changes_are_told_at_once_and_silence_every_ten_seconds():
    async def main():
        bench = Bench()
        async with bench.running():
            await asyncio.sleep(35)
            assert len(bench.server.reports) == 4
            await bench.want(wanted())
            await asyncio.sleep(0.1)
            assert len(bench.server.reports) >= 5
            assert bench.server.states("i1")[-1] is RunState.LOADING

    run_virtual(main())


def test_an_engine_that_dies_comes_back_with_its_reason_shown():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            bench.runtime.kill(bench.runtime.living[0].token, signal="SIGSEGV")
            await asyncio.sleep(7)
            told = [dict(report.instances)["i1"] for _, report in bench.server.reports[1:]]
            (ended,) = [one for one in told if one.state is RunState.BACKOFF]
            assert ended.reason.code == "engine_killed"
            assert ended.next_start is not None
            assert bench.server.seen["i1"].state is RunState.READY
            assert (bench.server.seen["i1"].run, bench.server.seen["i1"].restarts) == (2, 1)

    run_virtual(main())


def test_a_stopped_instance_leaves_the_report_only_when_its_process_is_gone():
    async def main():
        bench = Bench(lambda _spec, _place: Script(load_s=0.1, stop_s=2.0))
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(1)
            await bench.want(revision=2)
            await asyncio.sleep(1)
            assert bench.server.seen["i1"].state is RunState.STOPPING
            await asyncio.sleep(2)
            assert bench.server.seen == {}

    run_virtual(main())


def test_a_new_placement_waits_until_the_old_process_is_gone():
    most = 0

    async def main():
        nonlocal most
        bench = Bench(lambda _spec, _place: Script(load_s=0.1, stop_s=2.0))
        async with bench.running():
            await bench.want(wanted(placement="p1"))
            await asyncio.sleep(1)
            await bench.want(wanted(placement="p2"), revision=2)
            for _ in range(60):
                await asyncio.sleep(0.1)
                most = max(most, len(bench.runtime.living))
            assert bench.server.seen["i1"].placement_id == "p2"
            assert bench.server.seen["i1"].state is RunState.READY

    run_virtual(main())
    assert most == 1


def test_engines_outlive_a_crash_and_are_adopted():
    async def main():
        bench = Bench()
        async with bench.running(crash=True):
            await bench.want(wanted())
            await asyncio.sleep(3)
        (engine,) = bench.runtime.living
        bench.server.reports.clear()
        async with bench.running(crash=True):
            await asyncio.sleep(0.1)
            first = bench.server.reports[0][1]
            assert dict(first.instances)["i1"].state is RunState.READY
            assert dict(first.instances)["i1"].adopted
            await bench.want(wanted())
            await asyncio.sleep(60)
            assert bench.runtime.living == [engine]
            assert bench.server.states("i1") == [RunState.READY]
            assert bench.server.seen["i1"].run == 1

    run_virtual(main())


def test_adopted_engines_run_on_until_the_server_says_otherwise():
    async def main():
        bench = Bench()
        async with bench.running(crash=True):
            await bench.want(wanted())
            await asyncio.sleep(3)
        bench.server.away = True
        async with bench.running(crash=True):
            await asyncio.sleep(600)
            assert len(bench.runtime.living) == 1
            bench.server.away = False
            await bench.want(revision=2)
            await asyncio.sleep(10)
            assert bench.runtime.living == []

    run_virtual(main())


def test_after_a_power_cut_instances_start_again_counted_as_restarted():
    async def main():
        bench = Bench()
        async with bench.running(crash=True):
            await bench.want(wanted())
            await asyncio.sleep(3)
        bench.runtime.power_off()
        async with bench.running(crash=True):
            await bench.want(wanted())
            await asyncio.sleep(3)
            seen = bench.server.seen["i1"]
            assert (seen.state, seen.run, seen.restarts) == (RunState.READY, 2, 1)

    run_virtual(main())


def test_without_the_server_work_goes_on():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            bench.server.away = True
            await bench.server.sets.put(None)
            bench.runtime.kill(bench.runtime.living[0].token)
            await asyncio.sleep(600)
            assert len(bench.runtime.living) == 1
            bench.server.away = False
            count = len(bench.server.reports)
            await asyncio.sleep(10)
            assert len(bench.server.reports) > count
            assert bench.server.seen["i1"].restarts == 1

    run_virtual(main())


def test_a_refused_credential_is_renewed_and_kept():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            bench.server.credential = "c2"
            await asyncio.sleep(30)
            assert bench.memory.state.identity.credential == "c2"
            assert len(bench.runtime.living) == 1
            assert bench.server.reports[-1][0] > 10
        assert bench.server.registered <= 3

    run_virtual(main())


@pytest.mark.parametrize("refusal", [UnauthenticatedError("wrong token"), ExistsError("taken")])
def test_a_machine_that_may_not_join_says_so_and_ends(refusal):
    async def main():
        bench = Bench()
        bench.server.refuses = refusal
        with pytest.raises(type(refusal)):
            await bench.agent().run()

    run_virtual(main())


def test_a_server_that_is_away_at_first_is_waited_for():
    async def main():
        bench = Bench()
        bench.server.away = True
        async with bench.running():
            await asyncio.sleep(100)
            bench.server.away = False
            await asyncio.sleep(10)
            assert bench.server.registered == 1

    run_virtual(main())


def test_a_missing_model_is_waited_for():
    async def main():
        bench = Bench()
        facts = bench.files.facts.pop("/models/m.gguf")
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            waiting = bench.server.seen["i1"]
            assert (waiting.state, waiting.reason.code) == (RunState.WAITING, "path_missing")
            bench.files.facts["/models/m.gguf"] = facts
            await asyncio.sleep(10)
            assert bench.server.seen["i1"].state is RunState.READY

    run_virtual(main())


def test_an_engine_that_cannot_start_is_tried_again_with_pauses():
    starts = []

    async def main():
        bench = Bench(lambda _s, _p: starts.append(1) or Script(start_error="no such program"))
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(62)
            seen = bench.server.seen["i1"]
            assert (seen.state, seen.reason.code) == (RunState.BACKOFF, "crash_loop")
            assert seen.reason.params["cause"] == "launch_failed"
        assert 5 <= len(starts) <= 7

    run_virtual(main())


def test_a_hanging_engine_is_taken_out_within_15_seconds_and_restarted():
    async def main():
        bench = Bench()
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(3)
            bench.runtime.rewrite(bench.runtime.living[0].token, hang_after_s=0.0)
            await asyncio.sleep(15)
            sick = bench.server.seen["i1"]
            assert (sick.state, sick.reason.code) == (RunState.STARTING, "unhealthy")
            assert len(bench.runtime.living) == 1
            await asyncio.sleep(75)
            well = bench.server.seen["i1"]
            assert (well.state, well.restarts) == (RunState.READY, 1)

    run_virtual(main())


def test_a_defect_in_one_action_does_not_wedge_its_instance():
    async def main():
        bench = Bench()
        fails = [True, True]

        def play(_spec, _place):
            if fails:
                fails.pop()
                raise ZeroDivisionError
            return Script(load_s=0.1)

        bench.runtime.play = play
        async with bench.running():
            await bench.want(wanted())
            await asyncio.sleep(20)
            assert bench.server.seen["i1"].state is RunState.READY

    run_virtual(main())
