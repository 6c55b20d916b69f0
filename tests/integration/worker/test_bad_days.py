"""A machine that is in a bad way: ports taken, disks full, directories in the way.

Each is told with its reason, and is over when its cause is.
"""

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from integration.worker.plane import Plane, assignment


def hold(port):
    """Somebody else's listener."""
    stranger = socket.socket()
    stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    stranger.bind(("127.0.0.1", port))
    stranger.listen()
    return stranger


@contextlib.contextmanager
def small_disk(place: Path, size: str):
    """A file system of its own that can be filled."""
    if sys.platform != "linux" or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("only root can make a small disk")
    place.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if subprocess.run(mount, check=False, capture_output=True).returncode != 0:
        pytest.skip("this machine does not allow mounting")
    try:
        yield place
    finally:
        # Detached: whatever still has a file open there must not keep the test from ending.
        subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path) -> Path:
    """Nothing more can be written there until this file is removed."""
    filler = disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
        while True:
            file.write(b"x" * 4096)
    return filler


def test_strangers_on_every_port_are_told_and_waited_for(agent, model):
    first, last = agent.ports
    strangers = [hold(port) for port in range(first, last + 1)]

    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model))
            await plane.until(
                lambda: (seen := plane.seen("dep-a")) and seen.reason and seen.reason.code
                == "port_exhausted"
            )  # fmt: skip
            assert plane.seen("dep-a").reason.params["range"] == f"{first}-{last}"
            strangers[2].close()
            ready = await plane.until_state("dep-a", "ready")
            assert (ready.port, ready.restarts) == (first + 2, 0)
            agent.end()

    try:
        asyncio.run(main())
    finally:
        for stranger in strangers:
            stranger.close()


def test_a_full_disk_below_the_agent_is_told_and_waited_for(agent, model):
    async def main(disk):
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model))
            await plane.until_state("dep-a", "ready")
            filler = fill(disk)
            plane.want(assignment("dep-a", model), assignment("dep-b", model))
            await plane.until(
                lambda: (seen := plane.seen("dep-b")) and seen.reason and seen.reason.code
                == "disk_full"
            )  # fmt: skip
            assert plane.seen("dep-a").state.value == "ready", "what runs goes on"
            filler.unlink()
            await plane.until_state("dep-b", "ready", 40.0)
            agent.end()

    with small_disk(agent.root / "data", "512k") as disk:
        asyncio.run(main(disk))


def test_engines_start_and_end_although_their_logs_have_no_room(agent, model):
    async def main(disk):
        async with Plane() as plane:
            agent.start(plane.url)
            await plane.until(lambda: plane.reports)
            fill(disk)
            plane.want(assignment("dep-a", model))
            ready = await plane.until_state("dep-a", "ready")
            assert ready.restarts == 0
            plane.want()
            await plane.until(lambda: plane.seen("dep-a") is None)
            agent.until_engines(0)
            agent.end()

    with small_disk(agent.root / "log", "64k") as disk:
        asyncio.run(main(disk))


@pytest.mark.parametrize("place", ["data/worker/runs", "log/serve", "data/worker/tmp"])
def test_a_directory_that_cannot_be_made_is_named_and_made_later(agent, model, place):
    obstacle = agent.root / place
    obstacle.parent.mkdir(parents=True)
    obstacle.write_text("a file where a directory should be")

    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model))
            if place.endswith("tmp") and "/aims-" in _scratch(agent):
                await plane.until_state("dep-a", "ready")
                agent.end()
                return
            failed = await plane.until_state("dep-a", "backoff")
            assert failed.reason.code == "launch_failed"
            assert str(obstacle) in failed.reason.message
            obstacle.unlink()
            await plane.until_state("dep-a", "ready")
            agent.end()

    asyncio.run(main())


def _scratch(agent) -> str:
    from aimindserve.runtimes._confine import scratch_dir

    return str(scratch_dir(agent.root / "data" / "worker", "x" * 12))


@pytest.mark.parametrize("name", ["state.json", "processes/0.json", "machine-id"])
def test_files_of_the_agent_that_are_damaged_do_not_keep_it_from_working(agent, model, name):
    damaged = agent.root / "data" / "worker" / name
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"\0\0\0 not what it was")

    async def main():
        async with Plane() as plane:
            agent.start(plane.url)
            plane.want(assignment("dep-a", model))
            await plane.until_state("dep-a", "ready")
            agent.end()

    asyncio.run(main())
