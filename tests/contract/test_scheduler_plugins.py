"""Every filter and scorer, also one added tomorrow: known reasons, bounded scores, no surprises."""

import importlib
import pkgutil

import pytest
from hypothesis import given, settings

from aimindserve.core.reason import CATALOGUE
from aimindserve.scheduler import filters as filter_folder
from aimindserve.scheduler import scorers as scorer_folder
from aimindserve.scheduler._all import filters, scorers
from unit.scheduler import worlds

FILTERS = {plugin.name: plugin for plugin in filters()}
SCORERS = {plugin.name: plugin for plugin in scorers()}


def modules(folder):
    return sorted(info.name for info in pkgutil.iter_modules(folder.__path__))


@pytest.mark.parametrize("folder", [filter_folder, scorer_folder], ids=["filters", "scorers"])
def test_a_file_is_a_plugin_of_its_name(folder):
    for name in modules(folder):
        module = importlib.import_module(f"{folder.__name__}.{name}")
        assert module.PLUGIN.name == name
        assert module.__doc__
        assert type(module.PLUGIN).__doc__


@pytest.mark.parametrize("name", FILTERS)
@given(snapshot=worlds.snapshots(), ask=worlds.asks(0))
@settings(max_examples=15, deadline=None)
def test_a_filter_refuses_with_a_reason_people_can_read(name, snapshot, ask):
    for worker in snapshot.workers:
        for shape in ask.shapes:
            reason = FILTERS[name].reject(ask, shape, worker)
            assert reason == FILTERS[name].reject(ask, shape, worker)
            if reason is None:
                continue
            assert reason.code in CATALOGUE
            assert "?" not in reason.message, f"{name} leaves a brace of {reason.code} empty"
            assert "?" not in reason.fix.replace("{name}", "")


@pytest.mark.parametrize("name", SCORERS)
@given(snapshot=worlds.snapshots(), ask=worlds.asks(0))
@settings(max_examples=15, deadline=None)
def test_a_scorer_stays_between_zero_and_one(name, snapshot, ask):
    scorer = SCORERS[name]
    assert scorer.weight > 0
    for worker in snapshot.workers:
        for shape in ask.shapes:
            score = scorer.score(ask, shape, worker)
            assert 0.0 <= score <= 1.0
            assert score == scorer.score(ask, shape, worker)
