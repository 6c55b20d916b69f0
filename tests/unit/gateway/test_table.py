import pytest

from aimindserve.gateway.pick import pick
from aimindserve.gateway.table import Group, Route, Target, build
from aimindserve.wire.origin import Origin
from integration.gateway.world import api_key, documents, instance, route, worker


def targets(table, name):
    return [
        (group.deployment, group.weight, [target.instance for target in group.targets])
        for group in table.routes[name].groups
    ]


def test_a_ready_instance_is_a_target():
    table = build(documents(10150), 5)
    assert table.revision == 5
    assert targets(table, "tiny") == [("tiny", 1, ["tiny-aaaaa"])]
    target = table.routes["tiny"].groups[0].targets[0]
    assert target.origin == Origin("127.0.0.1", 10150)
    assert target.head == (
        b"host: 127.0.0.1:10150\r\nx-aims-instance: tiny-aaaaa\r\n"
        b"authorization: Bearer proxy-secret\r\n"
    )
    assert table.routes["tiny"].categories == {"llm"}


@pytest.mark.parametrize(
    "change",
    [
        {"instance": {"i": instance("tiny", "w1", state="loading")}},
        {"instance": {"i": instance("tiny", "w1", seen="older")}},
        {"instance": {"i": instance("tiny", "w1", stopping=True)}},
        {"instance": {"i": instance("tiny", "w2")}},
        {"instance": {"i": instance("other", "w1")}},
        {"instance": {"i": {"spec": {"deployment": "tiny"}, "status": {"placement": None}}}},
        {"worker": {"w1": worker(1, ready=False)}},
        {"worker": {"w1": {"spec": {}, "status": {"ready": True, "observed": None}}}},
        {"route": {"tiny": route(("tiny", 0))}},
    ],
    ids=range(9),
)
def test_anything_else_is_no_target(change):
    table = build(documents(1) | change, 1)
    assert targets(table, "tiny") == []
    assert table.routes["tiny"].reason


def test_an_instance_on_several_workers_is_a_target_while_all_of_them_are_there():
    wide = instance("tiny", "w1")
    wide["status"]["placement"]["ranks"] = [{"worker": "w1"}, {"worker": "w2"}]
    docs = documents(1) | {"instance": {"i": wide}}
    for other, found in ((worker(2), ["i"]), (worker(2, ready=False), []), (None, [])):
        workers = docs["worker"] | ({} if other is None else {"w2": other})
        told = targets(build(docs | {"worker": workers}, 1), "tiny")
        assert [each for _, _, instances in told for each in instances] == found


def test_the_reason_comes_from_the_instance():
    waiting = instance("tiny", "w1", state="loading")
    waiting["status"]["reason"] = {"message": "w1 has not enough free RAM."}
    table = build(documents(1) | {"instance": {"tiny-1": waiting}}, 1)
    assert table.routes["tiny"].reason == "Instance tiny-1: w1 has not enough free RAM."
    table = build(
        documents(1) | {"instance": {"tiny-1": instance("tiny", "w1", state="loading")}}, 1
    )
    assert table.routes["tiny"].reason == "Instance tiny-1 is loading."
    none = {"instance": {}, "deployment": {"tiny": {"spec": {"replicas": 0}}}}
    assert "asks for no instance" in build(documents(1) | none, 1).routes["tiny"].reason
    assert "being created" in build(documents(1) | {"instance": {}}, 1).routes["tiny"].reason


def test_keys_and_sessions_of_users_who_may():
    docs = documents(1) | {
        "user": {
            "ann": {"spec": {"role": "admin"}},
            "bob": {"spec": {"role": "user", "disabled": True}},
        },
        "api-key": {
            "good": api_key(expires_at=7.0, allowed_models=["tiny"]),
            "disabled": api_key("b", user="bob"),
            "orphan": api_key("c", user="carl"),
            "hashless": {"spec": {"user": "ann"}},
        },
        "session": {
            "s": {"spec": {"user": "ann", "expires_at": 9.0, "token_hash": "h"}},
            "t": {"spec": {"user": "bob", "expires_at": 9.0, "token_hash": "i"}},
        },
    }
    table = build(docs, 1)
    assert [principal.name for principal in table.keys.values()] == ["good"]
    [good] = table.keys.values()
    assert (good.user, good.role, good.expires_at) == ("ann", "admin", 7.0)
    assert good.allowed_models == {"tiny"}
    assert {name: who.user for name, who in table.sessions.items()} == {"h": "ann"}


def test_a_table_cannot_be_changed():
    table = build(documents(1), 1)
    with pytest.raises(TypeError):
        table.routes["x"] = Route("x")


def make_route(**deployments):
    return Route(
        "r",
        tuple(
            Group(name, weight, tuple(Target(f"{name}-{i}", "w", Origin(), b"") for i in range(n)))
            for name, (weight, n) in deployments.items()
        ),
    )


def test_pick_keeps_weights_at_any_length():
    mixed = make_route(big=(900, 1), small=(100, 1))
    for turns in (50, 200, 1000):
        picked = [pick(mixed, {}, turn).instance for turn in range(turns)]
        assert picked.count("small-0") / turns == pytest.approx(0.1, abs=0.03)


def test_pick_takes_the_least_loaded_and_equals_in_turn():
    three = make_route(d=(1, 3))
    assert {pick(three, {}, turn).instance for turn in range(3)} == {"d-0", "d-1", "d-2"}
    load = {"d-0": 2, "d-1": 1, "d-2": 2}
    assert {pick(three, load, turn).instance for turn in range(9)} == {"d-1"}
    load = {"d-0": 1, "d-1": 1, "d-2": 2}
    assert {pick(three, load, turn).instance for turn in range(9)} == {"d-0", "d-1"}


def test_pick_leaves_out_what_was_tried():
    mixed = make_route(a=(1000, 1), b=(1, 1))
    assert pick(mixed, {}, 1, frozenset({"a-0"})).instance == "b-0"
    assert pick(mixed, {}, 1, frozenset({"a-0", "b-0"})) is None
    assert pick(make_route(a=(1, 1)), {}, 1, frozenset({"a-0"})) is None
    assert pick(Route("empty"), {}, 1) is None
