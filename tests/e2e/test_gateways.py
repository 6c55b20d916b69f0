"""Two gateway processes behind one port: both serve, and the death of one is a hiccup."""

import http.client
import json
import sys
import threading
from collections.abc import Iterator

import psutil
import pytest

from e2e.system import ROLES, System, command_line, eventually, running

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux spreads connections over listeners of one port"
)


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    data_dir = tmp_path_factory.mktemp("gateways") / "data"
    with running(data_dir, **{"gateway-processes": "2"}) as found:
        yield found


@pytest.fixture(scope="module")
def key(system: System) -> str:
    status, made = system.request("POST", "/api/v1/api-keys", {"description": "e2e"})
    assert status == 201, made
    return made["key"]


class Line:
    """One kept-alive connection, and which gateway process is at its other end."""

    def __init__(self, system: System, key: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", system.port, timeout=10)
        self._fields = {"authorization": f"Bearer {key}"}

    def ask(self) -> str:
        """List the models; returns what the process that answered begins its request ids with."""
        self._connection.request("GET", "/v1/models", headers=self._fields)
        # Closed even when it is cut short: what is left of it would hold the socket.
        with self._connection.getresponse() as answer:
            assert answer.status == 200, answer.read()
            assert json.loads(answer.read())["object"] == "list"
            return answer.headers["x-request-id"].partition("-")[0]

    def close(self) -> None:
        self._connection.close()


def gateways(system: System) -> list[psutil.Process]:
    return [one for one in system.processes() if ROLES["gateway"] in command_line(one)]


def who_answers(system: System, key: str, connections: int = 24) -> set[str]:
    """The processes at the other ends of so many new connections."""
    lines = [Line(system, key) for _ in range(connections)]
    try:
        return {line.ask() for line in lines}
    finally:
        for line in lines:
            line.close()


def test_both_take_connections(system: System, key: str) -> None:
    assert len(gateways(system)) == 2
    eventually(lambda: len(who_answers(system, key)) == 2, within_s=10, what="both answer")


class Caller(threading.Thread):
    """Asks without a pause, each time on a new connection, and counts what becomes of it."""

    def __init__(self, system: System, key: str) -> None:
        super().__init__()
        self._system, self._key = system, key
        self._over = threading.Event()
        self.answered = self.cut = 0
        self.wrong: list[BaseException] = []

    def run(self) -> None:
        while not self._over.is_set():
            line = Line(self._system, self._key)
            try:
                line.ask()
                self.answered += 1
            except (OSError, http.client.HTTPException):
                self.cut += 1
            except AssertionError as error:
                self.wrong.append(error)
            finally:
                line.close()
            self._over.wait(0.005)

    def finish(self) -> None:
        self._over.set()
        self.join(20)


def test_one_that_is_killed_is_replaced_while_requests_go_on(system: System, key: str) -> None:
    lines = [Line(system, key) for _ in range(12)]
    before = {line: line.ask() for line in lines}
    assert len(set(before.values())) == 2
    victim, survivor = gateways(system)
    caller = Caller(system, key)
    caller.start()
    try:
        eventually(lambda: caller.answered > 20, within_s=20, what="requests under way")
        victim.kill()
        victim.wait(10)
        cut = {line for line in lines if is_cut(line)}
        gone = {before[line] for line in cut}
        assert len(gone) == 1, "every connection of the killed one is cut, and no other"
        assert all(before[line] in gone for line in cut)
        assert len(cut) == [*before.values()].count(*gone)
        asked = caller.answered
        eventually(lambda: caller.answered > asked + 20, within_s=20, what="the other one serves")

        def replaced() -> bool:
            there = gateways(system)
            return len(there) == 2 and survivor in there and victim not in there

        eventually(replaced, within_s=20, what="a new process")
        left = {*before.values()} - gone
        eventually(lambda: who_answers(system, key) - {*before.values()}, within_s=20, what="new")
        for line in set(lines) - cut:
            assert {line.ask()} == left
    finally:
        caller.finish()
        for line in lines:
            line.close()
    assert not caller.wrong
    # Cut are only those that were at the killed process in that moment.
    assert caller.cut <= 5, (caller.cut, caller.answered)


def is_cut(line: Line) -> bool:
    try:
        line.ask()
    except (OSError, http.client.HTTPException):
        return True
    return False
