"""What single filters say, where the cluster-wide properties do not reach."""

from dataclasses import replace

import pytest

from aimindserve.core.device import Need
from aimindserve.core.ids import WorkerName
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Shape
from aimindserve.scheduler.base import Ask, WorkerView
from aimindserve.scheduler.filters.file import PLUGIN as FILE
from aimindserve.scheduler.filters.ready import PLUGIN as READY

SHAPE = Shape(label="cpu", ranks=(Need(),))
HERE = WorkerView(WorkerName("w"), True, False, "linux", "amd64", {}, 8, 8)
AWAY = replace(HERE, ready=False, away=Reason("worker_lost", {"worker": "w", "since": "then"}))
LOOKING = Reason("file_checking", {"worker": "w"})
MISSING = Reason("path_missing", {"worker": "w", "path": "/m"})


@pytest.mark.parametrize(
    ("worker", "known", "told"),
    [
        (HERE, None, None),
        (HERE, {"w": None}, None),
        (HERE, {"w": MISSING}, MISSING),
        (HERE, {"w": LOOKING}, LOOKING),
        (HERE, {}, LOOKING),
        (AWAY, {"w": None}, None),
        (AWAY, {"w": MISSING}, MISSING),
        (AWAY, {"w": LOOKING}, None),
        (AWAY, {}, None),
    ],
)
def test_only_who_is_there_can_be_looking_at_a_file(worker, known, told):
    ask = Ask("i", "d", "p", (SHAPE,), file_workers=known)
    assert FILE.reject(ask, SHAPE, worker) == told
    screen = FILE.screen(ask, SHAPE)
    assert (screen is None or screen(worker)) == (told is None)


@pytest.mark.parametrize(
    ("worker", "code"),
    [(HERE, None), (AWAY, "worker_lost"), (replace(AWAY, away=None), "worker_not_ready")],
)
def test_who_is_away_says_why(worker, code):
    told = READY.reject(Ask("i", "d", "p", (SHAPE,)), SHAPE, worker)
    assert (told and told.code) == code
