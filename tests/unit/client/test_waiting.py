"""Watches that resume, and the verdicts over what they tell."""

import json

import httpx
import pytest

from aimindserve.client import CannotScheduleError, TargetFailedError, WaitTimeoutError
from aimindserve.client.objects import Event, known
from aimindserve.client.sync import Client
from aimindserve.client.waiting import Outcome, Progress, Stage, Waiting, check
from aimindserve.client.watching import Follow
from aimindserve.core.errors import ForbiddenError, NotFoundError, UpstreamError


def deployment(replicas=1, ready=0, generation=1, seen=1):
    return known(
        {
            "kind": "deployment",
            "metadata": {"name": "m", "generation": generation, "revision": 1},
            "spec": {"replicas": replicas},
            "status": {
                "observed_generation": seen, "replicas": replicas, "ready_replicas": ready,
                "phase": "progressing",
            },
        }
    )  # fmt: skip


def instance(name="m-1", phase="queued", reason=None, restarts=0, of="m"):
    return known(
        {
            "kind": "instance",
            "metadata": {"name": name, "revision": 1},
            "spec": {"deployment": of},
            "status": {
                "phase": phase,
                "reason": reason,
                "observed": {"restarts": restarts},
                "placement": None,
            },
        }
    )


def told(*objects):
    waiting = Waiting("m")
    for one in objects:
        waiting.apply(Event("ADDED", 1, one))
    waiting.apply(Event("BOOKMARK", 2))
    return waiting


REFUSED = {"code": "no_fit_ram", "params": {}, "message": "Too little.", "fix": "Add RAM."}


def test_ready_when_all_answer_and_the_spec_has_been_seen():
    assert told(deployment(ready=1)).progress(0).outcome is Outcome.READY
    assert told(deployment(2, ready=1)).progress(0).outcome is Outcome.PENDING
    stale = told(deployment(ready=1, generation=2, seen=1))
    assert stale.progress(0).outcome is Outcome.PENDING


def test_a_generation_that_is_not_there_yet_is_waited_for():
    waiting = told(deployment(ready=1))
    waiting.generation = 2
    assert waiting.progress(0).outcome is Outcome.PENDING


def test_gone_only_after_the_snapshot_is_complete():
    waiting = Waiting("m")
    assert waiting.progress(0).outcome is Outcome.PENDING
    waiting.apply(Event("BOOKMARK", 2))
    assert waiting.progress(0).outcome is Outcome.GONE


def test_a_refusal_is_final_only_when_it_lasts():
    waiting = told(deployment(), instance(phase="waiting", reason=REFUSED))
    assert waiting.progress(10.0).outcome is Outcome.PENDING
    assert waiting.progress(12.0).outcome is Outcome.PENDING
    found = waiting.progress(13.5)
    assert found.outcome is Outcome.UNSCHEDULABLE
    assert found.culprit.instance == "m-1"
    waiting.apply(Event("MODIFIED", 3, instance(phase="placing")))
    assert waiting.progress(14).outcome is Outcome.PENDING
    waiting.apply(Event("MODIFIED", 4, instance(phase="waiting", reason=REFUSED)))
    assert waiting.progress(15).outcome is Outcome.PENDING


def test_a_worker_that_still_looks_at_the_file_is_no_refusal():
    waiting = told(deployment(), instance(phase="waiting", reason={"code": "file_checking"}))
    waiting.progress(0)
    assert waiting.progress(100).outcome is Outcome.PENDING
    mixed = {"code": "no_fit", "params": {"counts": {"no_fit_ram": 1, "file_checking": 1}}}
    waiting = told(deployment(), instance(phase="waiting", reason=mixed))
    waiting.progress(0)
    assert waiting.progress(100).outcome is Outcome.PENDING


@pytest.mark.parametrize("code", ["no_worker", "worker_not_ready", "worker_lost", "worker_left"])
def test_a_server_that_has_just_started_may_have_no_worker_for_a_moment(code):
    waiting = told(deployment(), instance(phase="waiting", reason={"code": code}))
    waiting.progress(0)
    assert waiting.progress(10).outcome is Outcome.PENDING
    assert waiting.progress(16).outcome is Outcome.UNSCHEDULABLE


@pytest.mark.parametrize(
    ("phase", "restarts", "outcome"),
    [
        ("failed", 0, Outcome.FAILED),
        ("backoff", 1, Outcome.PENDING),
        ("backoff", 3, Outcome.FAILED),
        ("stopping", 9, Outcome.PENDING),
    ],
)
def test_failed_is_what_is_not_tried_again_or_too_often(phase, restarts, outcome):
    waiting = told(deployment(), instance(phase=phase, restarts=restarts))
    assert waiting.progress(0).outcome is outcome


def test_instances_of_others_and_deleted_ones_do_not_count():
    waiting = told(deployment(), instance(phase="failed", of="other"), instance("m-2", "failed"))
    waiting.apply(Event("DELETED", 3, instance("m-2", "failed")))
    assert waiting.progress(0).outcome is Outcome.PENDING
    waiting.apply(Event("RESYNC"))
    assert waiting.progress(0).outcome is Outcome.PENDING
    assert waiting.object is None


def test_verdicts_are_raised_with_their_reason():
    culprit = Stage("m-1", "waiting", reason=REFUSED)
    with pytest.raises(CannotScheduleError, match="Too little") as caught:
        check("m", Progress(Outcome.UNSCHEDULABLE, culprit=culprit))
    assert caught.value.hint == "Add RAM."
    assert caught.value.params["reason"]["code"] == "no_fit_ram"
    with pytest.raises(TargetFailedError):
        check("m", Progress(Outcome.FAILED, culprit=Stage("m-1", "failed")))
    with pytest.raises(NotFoundError):
        check("m", Progress(Outcome.GONE))
    check("m", Progress(Outcome.PENDING))


def test_a_watch_resumes_only_behind_a_whole_snapshot():
    follow = Follow(("instances",))
    follow.feed('data: {"type": "ADDED", "revision": 5, "object": null}')
    assert "since" not in follow.query()
    follow.feed('data: {"type": "BOOKMARK", "revision": 9}')
    follow.feed('data: {"type": "MODIFIED", "revision": 12, "object": null}')
    follow.feed(": keep-alive")
    assert follow.query() == {"kinds": "instances", "since": "12"}
    follow.feed('data: {"type": "RESYNC", "revision": 20}')
    assert "since" not in follow.query()
    with pytest.raises(UpstreamError):
        follow.feed("data: nonsense")


def lines(*messages):
    return "".join(f"id: 1\ndata: {json.dumps(one)}\n\n" for one in messages)


def test_a_broken_watch_goes_on_where_it_ended():
    asked = []

    def answer(request):
        asked.append(request.url.params.get("since"))
        if len(asked) == 1:
            return httpx.Response(200, text=lines({"type": "BOOKMARK", "revision": 4}))
        if len(asked) == 2:
            return httpx.Response(503, json={"code": "unavailable", "detail": "Away."})
        return httpx.Response(200, text=lines({"type": "BOOKMARK", "revision": 8}))

    client = Client("http://server", transport=httpx.MockTransport(answer))
    client._never.set()  # no pause between connections
    events = client.watch("instances")
    seen = [next(events) for _ in range(3)]
    assert [one.type for one in seen] == ["BOOKMARK", "IDLE", "BOOKMARK"]
    assert asked == [None, "4", "4"]
    events.close()


def test_a_watch_that_may_not_begin_says_so():
    def answer(_):
        return httpx.Response(403, json={"code": "forbidden", "detail": "No."})

    client = Client("http://server", transport=httpx.MockTransport(answer))
    with pytest.raises(ForbiddenError):
        next(client.watch("users"))


def test_waiting_ends_at_its_deadline_though_nothing_comes():
    def silent(request):
        if request.url.params.get("since") is None:
            found = {"type": "ADDED", "revision": 1, "object": deployment().document}
            return httpx.Response(200, text=lines(found, {"type": "BOOKMARK", "revision": 1}))
        raise httpx.ReadTimeout("silence", request=request)

    client = Client("http://server", transport=httpx.MockTransport(silent))
    client._never.set()
    with pytest.raises(WaitTimeoutError, match="0 of 1"):
        client.wait_ready("m", timeout_s=0.0)
