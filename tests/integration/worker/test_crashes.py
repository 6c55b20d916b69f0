"""Agents and engines killed at any moment: what runs is what is wanted, nothing is left."""

import asyncio
import os
import random
import signal
from pathlib import Path

import httpx
import pytest

from integration.worker.plane import Plane, assignment

KEY = {"authorization": "Bearer proxy-key-1"}


async def chat(plane, instance, text="hello there"):
    worker = plane.reports[-1].worker
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{worker.port}") as http:
        return await http.post(
            "/v1/chat/completions",
            headers={**KEY, "x-aims-instance": instance},
            json={"messages": [{"role": "user", "content": text}], "max_tokens": 4},
        )


def test_an_engine_that_is_killed_comes_back_with_its_reason(agent, model):
    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model))
            ready = await plane.until_state("dep-a", "ready")
            os.kill(ready.pid, signal.SIGKILL)
            ended = await plane.until_state("dep-a", "backoff")
            assert ended.reason.code == "engine_killed"
            assert ended.reason.params["signal"] == "SIGKILL"
            assert "engine ready" in ended.reason.evidence
            again = await plane.until_state("dep-a", "ready")
            assert (again.run, again.restarts) == (2, 1)
            assert again.pid != ready.pid
            assert (await chat(plane, "dep-a")).status_code == 200
            assert agent.end() == 0
            agent.until_engines(0)

    asyncio.run(main())


def test_engines_outlive_their_agent_and_go_on_working(agent, model):
    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model), assignment("dep-b", model))
            before = await plane.until_state("dep-a", "ready")
            await plane.until_state("dep-b", "ready")
            agent.kill()
            assert len(agent.engines()) == 2
            plane.reports.clear()
            agent.start(plane.url)
            after = await plane.until_state("dep-a", "ready")
            assert (after.pid, after.run, after.restarts) == (before.pid, 1, 0)
            assert after.adopted
            assert len(plane.registrations) == 1
            # What was ready never looked otherwise, not even in the first report.
            assert {o.state.value for r in plane.reports for _, o in r.instances} == {"ready"}
            assert (await chat(plane, "dep-a")).status_code == 200
            assert (await chat(plane, "dep-b")).status_code == 200
            agent.end()
            agent.until_engines(0)

    asyncio.run(main())


def test_what_is_not_wanted_any_more_is_stopped_by_the_next_agent(agent, model):
    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model), assignment("dep-b", model))
            await plane.until_state("dep-a", "ready")
            kept = await plane.until_state("dep-b", "ready")
            agent.kill()
            plane.want(assignment("dep-b", model))
            plane.reports.clear()
            agent.start(plane.url)
            await plane.until(lambda: plane.seen("dep-b") and not plane.seen("dep-a"))
            (engine,) = agent.until_engines(1)
            assert engine.pid == kept.pid
            worker = agent.root / "data" / "worker"
            # What an instance keeps goes with it; what the other one keeps stays.
            await plane.until(lambda: [p.name for p in (worker / "runs").iterdir()] == ["dep-b"])
            scratch = Path(engine.environ()["TMPDIR"])
            assert scratch.is_dir()
            assert "NoNewPrivs:\t1" in Path(f"/proc/{engine.pid}/status").read_text()
            agent.end()
            assert not scratch.exists()

    asyncio.run(main())


def test_without_a_server_the_next_agent_stops_nothing(agent, model):
    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model))
            await plane.until_state("dep-a", "ready")
            port = plane.reports[-1].worker.port
            agent.kill()
            url = plane.url
        agent.start(url, port=port)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30) as http:
            for _ in range(100):
                await asyncio.sleep(0.1)
                try:
                    answer = await http.post(
                        "/v1/completions",
                        headers={**KEY, "x-aims-instance": "dep-a"},
                        json={"prompt": "a b", "max_tokens": 2},
                    )
                except httpx.TransportError:
                    continue
                if answer.status_code == 200:
                    break
            assert answer.status_code == 200
        assert len(agent.engines()) == 1
        agent.end()
        agent.until_engines(0)

    asyncio.run(main())


def test_two_agents_never_share_a_directory(agent, model):
    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            await plane.until(lambda: plane.reports)
            first = agent.process
            agent.start(plane.url)
            assert await asyncio.to_thread(agent.process.wait, 20) != 0
            assert "already uses" in agent.log()
            agent.process = first
            agent.end()

    asyncio.run(main())


@pytest.mark.parametrize("seed", [1, 2])
def test_a_storm_of_kills_at_random_moments(agent, model, seed):
    """The agent is killed again and again while engines start and stop; engines are killed too.
    In the end exactly what is wanted runs, once, and every other port is free."""
    rng = random.Random(seed)
    names = [f"dep-{letter}" for letter in "abcd"]
    slow = ("--start-delay=0.3", "--ignore-stop")

    async def main():
        async with Plane() as plane:
            for number in range(6):
                plane.want(
                    *(
                        assignment(
                            name, model, *rng.choice(((), slow)),
                            placement=rng.choice(("p1", f"p{number}")),
                        )
                        for name in rng.sample(names, rng.randint(0, 4))
                    )
                )  # fmt: skip
                plane.reports.clear()
                agent.start(plane.url, stop_engines=False)
                await plane.until(lambda: plane.reports)
                await asyncio.sleep(rng.uniform(0.0, 0.6))
                if rng.random() < 0.5 and (engines := agent.engines()):
                    os.kill(rng.choice(engines).pid, signal.SIGKILL)
                agent.kill()
            plane.want(*(assignment(name, model, placement="last") for name in names[:3]))
            plane.reports.clear()
            agent.start(plane.url)

            def converged():
                seen = plane.reports[-1].instances
                right = [s.placement_id == "last" and s.state.value == "ready" for _, s in seen]
                return right == [True] * 3

            await plane.until(converged, 30)
            engines = agent.until_engines(3)
            told = {seen.pid for _, seen in plane.reports[-1].instances}
            assert {engine.pid for engine in engines} == told
            assert agent.end() == 0
            agent.until_engines(0)

    asyncio.run(main())
