"""Credentials, origins, throttling, passwords: the pieces on their own."""

import asyncio

import pytest

from aimindserve.core.errors import InvalidError, ThrottledError, UnauthenticatedError
from aimindserve.server.auth.origin import is_trusted_localhost, require_own_pages
from aimindserve.server.auth.passwords import Passwords, check_new, generate, is_weak
from aimindserve.server.auth.principals import Carrier, Credential, extract
from aimindserve.server.auth.throttle import ENTRIES_MAX, LoginThrottle


class HandClock:
    def __init__(self):
        self.time = 1000.0

    def now(self):
        return self.time

    def monotonic(self):
        return self.time


def headers(**fields):
    return [(name.replace("_", "-").encode(), value.encode()) for name, value in fields.items()]


@pytest.mark.parametrize(
    ("raw", "carrier"),
    [
        (headers(authorization="Bearer x"), Carrier.BEARER),
        (headers(authorization="bearer  x "), Carrier.BEARER),
        (headers(x_api_key="x"), Carrier.API_KEY),
        (headers(cookie="a=1; aims_session=x; b=2"), Carrier.COOKIE),
    ],
)
def test_one_credential(raw, carrier):
    assert extract(raw) == Credential(carrier, "x")


@pytest.mark.parametrize(
    "raw",
    [
        headers(authorization="Bearer x", x_api_key="x"),
        headers(authorization="Bearer x", cookie="aims_session=x"),
        headers(cookie="aims_session=x; aims_session=y"),
        [*headers(authorization="Bearer x"), *headers(authorization="Bearer x")],
        [*headers(x_api_key="x"), *headers(x_api_key="y")],
    ],
)
def test_several_credentials(raw):
    with pytest.raises(InvalidError):
        extract(raw)


@pytest.mark.parametrize("value", ["Basic x", "Bearer", "Bearer ", "x", "Bearer " + "x" * 513])
def test_odd_credentials(value):
    with pytest.raises(UnauthenticatedError):
        extract(headers(authorization=value))


def test_no_credential():
    assert extract(headers(cookie="aims_sessionx=1; other=aims_session")) is None
    assert extract(headers(cookie="aims_session=")) is None


LOCAL = {"x-aims-client": "127.0.0.1", "host": "localhost:80"}


@pytest.mark.parametrize(
    ("changes", "trusted"),
    [
        ({}, True),
        ({"x-aims-client": "127.8.8.8"}, True),
        ({"x-aims-client": "::1", "host": "[::1]"}, True),
        ({"host": ""}, False),
        ({"x-aims-client": ""}, False),
        ({"x-aims-client": "localhost"}, False),
        ({"x-aims-client": "192.168.0.1"}, False),
        ({"x-aims-client": "::ffff:10.0.0.1"}, False),
        ({"x-aims-forwarded": ""}, False),
        ({"host": "localhost.evil.example"}, False),
        ({"host": "evil.example"}, False),
        ({"sec-fetch-site": "same-site"}, False),
        ({"sec-fetch-site": "same-origin"}, True),
        ({"origin": "http://evil.example"}, False),
        ({"origin": "http://localhost:80"}, True),
        ({"origin": "null"}, False),
    ],
)
def test_localhost(changes, trusted):
    assert is_trusted_localhost("POST", {**LOCAL, **changes}) is trusted


def test_origins_that_the_settings_name_count_as_our_own():
    told = {
        "origin": "https://console.example",
        "host": "api.example",
        "sec-fetch-site": "same-site",
    }
    require_own_pages("POST", told, ("https://console.example",))


def test_throttling_grows_and_forgets():
    clock = HandClock()
    throttle = LoginThrottle(clock)
    pauses = []
    for _ in range(5):
        throttle.admit("ada", "c")
    for _ in range(8):
        with pytest.raises(ThrottledError) as caught:
            throttle.admit("ada", "c")
        pauses.append(caught.value.params["retry_after_s"])
        clock.time += pauses[-1] + 0.1
        throttle.admit("ada", "c")
    assert pauses[:4] == [60, 120, 240, 480]
    assert max(pauses) == 3600
    throttle.admit("ada", "another")
    throttle.succeeded("ada", "c")
    throttle.admit("ada", "c")


def test_one_client_cannot_try_many_accounts():
    throttle = LoginThrottle(HandClock())
    for number in range(30):
        throttle.admit(f"user{number}", "c")
    with pytest.raises(ThrottledError):
        throttle.admit("user30", "c")


def test_the_table_of_tries_is_bounded():
    throttle = LoginThrottle(HandClock())
    for number in range(ENTRIES_MAX):
        throttle.admit("ada", f"c{number}")
    assert len(throttle) == ENTRIES_MAX


@pytest.mark.parametrize("password", ["short", "password", "PASSWORD123", "x" * 129, "some.body"])
def test_passwords_that_are_refused(password):
    with pytest.raises(InvalidError):
        check_new(password, "some.body")


def test_generated_passwords_are_long_and_differ():
    made = {generate() for _ in range(50)}
    assert len(made) == 50
    assert not any(is_weak(each, "x") for each in made)


def test_hashing_and_checking():
    async def scenario():
        passwords = Passwords()
        hashed = await passwords.hash("secret words")
        assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert await passwords.verify(hashed, "secret words") == hashed
        assert await passwords.verify(hashed, "other words") is None
        assert await passwords.verify(None, "secret words") is None
        assert await passwords.verify("damaged", "secret words") is None
        passwords.close()

    asyncio.run(scenario())


def test_an_old_hash_is_renewed():
    from argon2 import PasswordHasher

    async def scenario():
        passwords = Passwords()
        old = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash("secret words")
        kept = await passwords.verify(old, "secret words")
        assert kept != old
        assert await passwords.verify(kept, "secret words") == kept
        passwords.close()

    asyncio.run(scenario())


def test_a_flood_of_sign_ins_is_turned_away():
    async def scenario():
        passwords = Passwords(queue_max=3)
        results = await asyncio.gather(
            *(passwords.verify(None, "x") for _ in range(8)), return_exceptions=True
        )
        refused = [each for each in results if isinstance(each, ThrottledError)]
        assert len(refused) == 5
        assert await passwords.verify(None, "x") is None
        passwords.close()

    asyncio.run(scenario())
