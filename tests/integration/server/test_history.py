"""Events and audit over the API: newest first, by page, chosen, and for whom."""

import asyncio

from aimindserve.core.happening import EVENTS
from aimindserve.store.records.events import Event
from integration.server.control_plane import plane

HISTORY = "/api/v1/events"
AUDIT = "/api/v1/audit"
DAY = 86_400.0


def run(scenario):
    async def scene():
        async with plane() as found:
            await scenario(found)

    asyncio.run(scene())


def write(found, count=12):
    for at in range(count):
        code, reason = ("refused", "no_worker") if at % 3 == 0 else ("started", "")
        params = {"worker": "w1"}
        name = f"chat-{at % 2}"
        event = Event(DAY + at, "instance", name, code, reason, params, 2, DAY, f"e{at}")
        found.history.append(event)


def test_events_come_newest_first_one_page_at_a_time():
    async def scenario(found):
        write(found)
        first = (await found.call("GET", f"{HISTORY}?per_page=5", "ada")).json()
        assert first["total"] == 12
        assert [each["id"] for each in first["items"]] == ["e11", "e10", "e9", "e8", "e7"]
        last = (await found.call("GET", f"{HISTORY}?per_page=5&page=3", "ada")).json()
        assert [each["id"] for each in last["items"]] == ["e1", "e0"]
        newest = first["items"][0]
        assert newest["message"] == "The engine was started on w1."
        assert (newest["count"], newest["time"], newest["first_time"]) == (
            2,
            "1970-01-02T00:00:11.000Z",
            "1970-01-02T00:00:00.000Z",
        )
        assert last["items"][1]["message"].startswith("No worker is connected")
        assert {each["code"] for each in first["items"]} <= EVENTS.keys()

    run(scenario)


def test_events_are_chosen_by_object_code_reason_and_time():
    async def scenario(found):
        write(found)

        async def ids(query):
            answer = await found.call("GET", f"{HISTORY}?{query}", "ada")
            assert answer.status_code == 200, answer.text
            return [each["id"] for each in answer.json()["items"]]

        assert await ids("kind=instance&name=chat-0&reason=no_worker") == ["e6", "e0"]
        assert await ids("code=refused") == ["e9", "e6", "e3", "e0"]
        assert await ids("kind=worker") == []
        assert await ids("since=1970-01-02T00:00:09Z") == ["e11", "e10", "e9"]
        assert await ids("until=1970-01-02T00:00:02") == ["e1", "e0"], "UTC when it does not say"
        assert await ids("since=1970-01-02T01:00:05%2B01:00&until=86407") == ["e6", "e5"]
        for wrong in (
            "since=yesterday",
            "per_page=501",
            "page=0",
            "colour=red",
            f"name={'n' * 999}",
        ):
            answer = await found.call("GET", f"{HISTORY}?{wrong}", "ada")
            assert (answer.status_code, answer.json()["code"]) == (400, "invalid"), wrong

    run(scenario)


def test_the_audit_is_for_administrators():
    async def scenario(found):
        assert (await found.call("GET", AUDIT, "ada")).status_code == 403
        assert (await found.call("GET", AUDIT)).status_code == 401
        assert (await found.call("GET", HISTORY)).status_code == 401
        body = {"metadata": {"name": "chat"}, "spec": {"model": {"source": "local", "path": "/m"}}}
        assert (await found.call("POST", "/api/v1/deployments", "admin", json=body)).is_success
        assert (await found.call("DELETE", "/api/v1/deployments/none", "admin")).status_code == 404
        told = (await found.call("GET", f"{AUDIT}?kind=deployment", "admin")).json()
        entries = [(each["action"], each["name"], each["outcome"]) for each in told["items"]]
        assert entries[-1] == ("create", "chat", "ok")
        assert told["items"][0]["actor"]
        chosen = (await found.call("GET", f"{AUDIT}?action=create&outcome=ok", "admin")).json()
        assert chosen["total"] == 1

    run(scenario)
