from types import SimpleNamespace

import pytest

from aimindserve.core.errors import (
    ForbiddenError,
    InvalidError,
    SettingsError,
    UnauthenticatedError,
)
from aimindserve.gateway.admit import Doorkeeper, check_model, is_forwarded
from aimindserve.gateway.config import CorsConfig
from aimindserve.gateway.table import Principal, build
from aimindserve.kit.secrets import keyed_hash
from aimindserve.wire.request import Request, RequestHead
from integration.gateway.world import KEY, PEPPER, api_key, documents

COOKIE = "session-secret"
DOCS = documents(1) | {
    "api-key": {"k1": api_key(), "old": api_key("old", expires_at=50.0)},
    "session": {
        "s": {"spec": {"user": "ann", "expires_at": 90.0, "token_hash": keyed_hash(PEPPER, COOKIE)}}
    },
}
TABLE = build(DOCS, 1)


HERE = ("host", "127.0.0.1:8080")


def request(*fields, peer="10.0.0.1", method="GET"):
    fields = [(name.encode(), value.encode()) for name, value in fields]
    head = RequestHead(method, "/v1/models", fields, dict(fields), peer)
    return Request(SimpleNamespace(note=None), head, None)


def admit(*fields, peer="10.0.0.1", trust=True, method="GET"):
    keeper = Doorkeeper(PEPPER, trust_localhost=trust)
    asked = request(*fields, peer=peer, method=method)
    return keeper.admit(asked, TABLE, SimpleNamespace(now=lambda: 60.0))


@pytest.mark.parametrize("pepper", [b"", b"short", b"x" * 64, b"y" * 200])
def test_the_hash_is_the_one_that_is_stored(pepper):
    keeper = Doorkeeper(pepper, trust_localhost=False)
    for secret in ("", KEY, "z" * 500):
        assert keeper.keyed_hash(secret.encode()) == keyed_hash(pepper, secret)


def test_a_connection_remembers_a_hash_and_not_what_it_opened():
    keeper = Doorkeeper(PEPPER, trust_localhost=False)
    first = request(("authorization", f"Bearer {KEY}"))
    again = request(("authorization", f"Bearer {KEY}"))
    other = request(("authorization", "Bearer other"))
    again._channel = other._channel = first.channel
    assert keeper.admit(first, TABLE, None).name == "k1"
    assert keeper.admit(again, TABLE, None).name == "k1"
    for asked, table in ((other, TABLE), (again, build(DOCS | {"api-key": {}}, 2))):
        with pytest.raises(UnauthenticatedError):
            keeper.admit(asked, table, None)


def test_each_kind_of_credential():
    assert admit(("authorization", f"Bearer {KEY}")).name == "k1"
    assert admit(("authorization", f"bearer  {KEY} ")).name == "k1"
    assert admit(("x-api-key", KEY)).name == "k1"
    assert admit(("cookie", f"a=b; aims_session={COOKIE}; c=d")).kind == "session"
    assert admit(("authorization", f"Bearer {KEY}"), ("cookie", "other=1")).name == "k1"


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("authorization", "Bearer wrong")],
        [("authorization", "Bearer ")],
        [("authorization", f"Basic {KEY}")],
        [("authorization", KEY)],
        [("x-api-key", "")],
        [("x-api-key", f"Bearer {KEY}")],
        [("cookie", f"other={COOKIE}")],
        [("cookie", "aims_session=wrong")],
        [("authorization", "Bearer old")],
    ],
    ids=range(10),
)
def test_everything_else_is_not_admitted(fields):
    with pytest.raises(UnauthenticatedError):
        admit(*fields)


@pytest.mark.parametrize(
    "fields",
    [
        [("authorization", f"Bearer {KEY}"), ("x-api-key", KEY)],
        [("authorization", f"Bearer {KEY}"), ("authorization", f"Bearer {KEY}")],
        [("authorization", f"Bearer {KEY}"), ("cookie", f"aims_session={COOKIE}")],
        [("cookie", f"aims_session={COOKIE}; aims_session={COOKIE}")],
        [("cookie", f"aims_session={COOKIE}"), ("cookie", f"aims_session={COOKIE}")],
        [("x-api-key", KEY), ("x-api-key", KEY)],
    ],
    ids=range(6),
)
def test_more_than_one_credential_is_refused(fields):
    with pytest.raises(InvalidError, match="more than one credential"):
        admit(*fields)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.8.8.8", "::1", "::ffff:127.0.0.1"])
def test_this_machine_is_admin_without_credential(peer):
    for host in ("127.0.0.1:8080", "localhost", "[::1]:80"):
        assert admit(("host", host), peer=peer).role == "admin"
    with pytest.raises(UnauthenticatedError):
        admit(HERE, peer=peer, trust=False)
    with pytest.raises(UnauthenticatedError):
        admit(HERE, ("authorization", "Bearer wrong"), peer=peer)


@pytest.mark.parametrize(
    "fields",
    [
        [],
        [("host", "evil.example")],
        [("host", "127.0.0.1.evil.example")],
        [HERE, ("sec-fetch-site", "cross-site")],
        [HERE, ("sec-fetch-site", "same-site")],
        [HERE, ("origin", "https://evil.example")],
    ],
    ids=range(6),
)
def test_a_foreign_page_gains_nothing_from_being_on_this_machine(fields):
    with pytest.raises(UnauthenticatedError):
        admit(*fields, peer="127.0.0.1", method="POST")


def test_a_session_cookie_does_not_count_on_a_foreign_page():
    cookie = ("cookie", f"aims_session={COOKIE}")
    own = [cookie, ("host", "a.example"), ("origin", "https://a.example")]
    assert admit(*own, method="POST").kind == "session"
    for other in (("origin", "https://evil.example"), ("sec-fetch-site", "cross-site")):
        with pytest.raises(ForbiddenError):
            admit(cookie, ("host", "a.example"), other, method="POST")


@pytest.mark.parametrize(
    "name",
    [
        *("x-forwarded-for", "x-forwarded-host", "forwarded", "x-real-ip", "via"),
        *("cf-connecting-ip", "true-client-ip"),
    ],
)
def test_behind_a_proxy_nobody_is_local(name):
    assert is_forwarded(request((name, "1.2.3.4")))
    with pytest.raises(UnauthenticatedError):
        admit(HERE, (name, "1.2.3.4"), peer="127.0.0.1")


@pytest.mark.parametrize("peer", ["10.0.0.1", "", "1127.0.0.1", "::2", "128.0.0.1"])
def test_other_machines_are_not_local(peer):
    with pytest.raises(UnauthenticatedError):
        admit(HERE, peer=peer)


def test_models_a_key_may_use():
    check_model(Principal("key", "k", "ann", "user"), "any")
    limited = Principal("key", "k", "ann", "user", None, frozenset({"tiny"}))
    check_model(limited, "tiny")
    with pytest.raises(ForbiddenError, match="'k' may not use the model 'big'"):
        check_model(limited, "big")


def test_cors_for_everybody_with_credentials_is_refused():
    with pytest.raises(SettingsError):
        CorsConfig(enabled=True, credentials=True)
    CorsConfig(enabled=True, credentials=True, origins=("https://a.example",))
