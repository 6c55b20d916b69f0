"""An engine that answers no questions is ready when it listens."""

import asyncio

import pytest

from aimindserve.core.launch import Probe, ProbeKind
from aimindserve.worker.life import Answer
from aimindserve.worker.probe import LoopbackProber
from unit.worker.world import handle

LISTENS = Probe(kind=ProbeKind.LISTENS)


@pytest.mark.parametrize(
    ("owned", "taken", "answer"),
    [
        (True, True, Answer.READY),
        (False, True, Answer.FOREIGN),
        (None, True, Answer.READY),
        (None, False, Answer.SILENT),
    ],
)
def test_whether_it_listens(owned, taken, answer):
    asked = []

    def look(port):
        asked.append(port)
        return taken

    prober = LoopbackProber(lambda _: owned, look)
    assert asyncio.run(prober.ask(handle(port=40001), LISTENS, confirm=True)) is answer
    assert set(asked) <= {40001}
