"""A child process of the kill -9 test: `python storm.py FILE ROUNDS SEED`.

Each round forks a writer that first checks that all writes acknowledged in earlier rounds are
there, then writes, and acknowledges through a pipe after each commit, until it is killed at a
random moment. Prints the number of acknowledged writes; an error ends it as soon as one is lost.
"""

import asyncio
import os
import random
import select
import signal
import sys
import time

from aimindserve.store.base import ChangeType, Row, Write
from aimindserve.store.sql import SqlBacking


async def write_on(path: str, known: dict[str, int], pipe: int, number: int) -> None:
    backing = SqlBacking(f"sqlite:///{path}")
    await backing.open()
    revision, rows = await backing.load()
    found = {row.name: row.revision for row in rows}
    lost = {name: at for name, at in known.items() if found.get(name) != at}
    if lost or revision < max(known.values(), default=0) or len(found) != revision:
        os.write(pipe, f"LOST {len(lost)} of {len(known)} at {revision}\n".encode())
        return
    os.write(pipe, b"READY\n")
    turn = 0
    while True:
        row = Row(
            "user", f"n{number}-{turn}", "i", "{}", '{"x": "' + "y" * 500 + '"}', "{}", 1, 0, 0.0
        )
        made = await backing.commit(Write(ChangeType.ADDED, row, None))
        os.write(pipe, f"{row.name} {made}\n".encode())
        turn += 1


def round_of(path: str, known: dict[str, int], number: int, patience_s: float) -> None:
    """Let a writer write for a while and kill it; what it acknowledged is added to `known`."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        asyncio.run(write_on(path, known, writing, number))
        os._exit(0)
    os.close(writing)
    text, deadline = b"", None
    while deadline is None or time.monotonic() < deadline:
        if deadline is None and b"\n" in text:
            deadline = time.monotonic() + patience_s
        wait_s = 10.0 if deadline is None else max(0.0, deadline - time.monotonic())
        if select.select([reading], [], [], wait_s)[0]:
            chunk = os.read(reading, 65536)
            if not chunk:
                break
            text += chunk
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    while chunk := os.read(reading, 65536):  # acknowledged before it died
        text += chunk
    os.close(reading)
    first, *acknowledged = text.decode().splitlines() or ["nothing"]
    if first != "READY":
        sys.exit(f"round {number}: {first}")
    known.update((name, int(at)) for name, at in map(str.split, acknowledged))


def main() -> None:
    path, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    choose = random.Random(seed)
    known: dict[str, int] = {}
    for number in range(rounds):
        round_of(path, known, number, choose.uniform(0.02, 0.3))
    round_of(path, known, rounds, 0.0)
    print(len(known))


main()
