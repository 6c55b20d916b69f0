"""Every filter and scorer, also one added tomorrow: known reasons, bounded scores, no surprises."""

import importlib
import pkgutil
from dataclasses import replace

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


def screen_of(plugin, ask, shape):
    """The filter's fast test; it may have none."""
    if not hasattr(plugin, "screen"):
        return lambda worker: plugin.reject(ask, shape, worker) is None
    return plugin.screen(ask, shape)


@pytest.mark.parametrize("name", FILTERS)
@given(snapshot=worlds.snapshots(), one=worlds.asks(0), other=worlds.asks(1))
@settings(max_examples=15, deadline=None)
def test_what_lasts_is_the_same_for_equal_keys_and_after_placements(name, snapshot, one, other):
    plugin = FILTERS[name]
    if not hasattr(plugin, "lasting"):
        return
    for worker in snapshot.workers:
        used = replace(worker, ram_free_bytes=0, ports_free=0, instances={"d0": 9})
        used = replace(used, device_free_bytes=dict.fromkeys(worker.device_free_bytes, 0))
        for shape in (*one.shapes, *other.shapes):
            assert plugin.reject(one, shape, worker) == plugin.reject(one, shape, used)
            if plugin.lasting(one, shape) == plugin.lasting(other, shape):
                assert plugin.reject(one, shape, worker) == plugin.reject(other, shape, worker)


@pytest.mark.parametrize("name", FILTERS)
@given(snapshot=worlds.snapshots(), ask=worlds.asks(0, kinds=worlds.any_shape()))
@settings(max_examples=15, deadline=None)
def test_a_filter_refuses_with_a_reason_people_can_read(name, snapshot, ask):
    for worker in snapshot.workers:
        for shape in ask.shapes:
            reason = FILTERS[name].reject(ask, shape, worker)
            assert reason == FILTERS[name].reject(ask, shape, worker)
            screen = screen_of(FILTERS[name], ask, shape)
            assert (screen is None or screen(worker)) == (reason is None), (
                "screen and reject differ"
            )
            if reason is None:
                continue
            assert reason.code in CATALOGUE
            assert "?" not in reason.message, f"{name} leaves a brace of {reason.code} empty"
            assert "?" not in reason.fix.replace("{name}", "")


@pytest.mark.parametrize("name", SCORERS)
@given(snapshot=worlds.snapshots(), ask=worlds.asks(0, kinds=worlds.any_shape()))
@settings(max_examples=15, deadline=None)
def test_a_scorer_stays_between_zero_and_one(name, snapshot, ask):
    scorer = SCORERS[name]
    assert scorer.weight > 0
    for worker in snapshot.workers:
        for shape in ask.shapes:
            score = scorer.score(ask, shape, worker)
            gauge = scorer.prepare(ask, shape) if hasattr(scorer, "prepare") else None
            if hasattr(scorer, "prepare"):
                assert score == (0.0 if gauge is None else gauge(worker))
            assert 0.0 <= score <= 1.0
            assert score == scorer.score(ask, shape, worker)
