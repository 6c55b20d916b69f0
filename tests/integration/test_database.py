"""Databases that cannot be used, asked for real before anything is started."""

import asyncio
import os
import stat
from urllib.parse import urlsplit

import pytest

from aimindserve.boot.database import DatabaseAwayError, check_database
from aimindserve.boot.places import places_of
from aimindserve.boot.preflight import StartError
from aimindserve.core.errors import SettingsError
from contract.store.places import place
from contract.store.relay import Relay
from integration.test_preflight import free_ports, run_prepare, settings_for

ORIGIN = "environment GPUSTACK_DATABASE_URL"


def check(folder, url):
    settings = settings_for(folder, database_url=url)
    run_prepare(settings).release()
    return check_database(settings, places_of(settings), os.environ, ORIGIN)


@pytest.fixture(params=["postgresql", "mysql"])
def database(request, tmp_path):
    with place(request.param, tmp_path) as found:
        yield found.url


def test_one_that_answers_is_remembered(database, tmp_path):
    assert check(tmp_path, database) == ""
    seen = places_of(settings_for(tmp_path)).database_seen
    assert stat.S_IMODE(seen.stat().st_mode) == 0o600


def test_one_that_does_not_exist_is_refused(database, tmp_path):
    with pytest.raises(SettingsError) as caught:
        check(tmp_path, f"{database}_not")
    told = caught.value.message
    assert told.startswith("database_url = '")
    assert f"({ORIGIN}) is refused: " in told
    assert "aims_test_" in told.rpartition("refused")[2]
    assert "exists" in caught.value.hint


def test_a_wrong_user_is_refused_and_no_password_told(database, tmp_path):
    scheme, _, rest = database.partition("://")
    with pytest.raises(SettingsError) as caught:
        check(tmp_path, f"{scheme}://nobody-here:hunter2@{rest.rpartition('@')[2]}")
    assert "nobody-here" in caught.value.message.rpartition("refused")[2]
    assert "hunter2" not in caught.value.message


@pytest.mark.parametrize("scheme", ["postgresql", "mysql"])
def test_one_that_is_away_ends_the_start_unless_it_is_known(scheme, tmp_path):
    (port,) = free_ports(1)
    url = f"{scheme}://u:hunter2@127.0.0.1:{port}/x"
    with pytest.raises(DatabaseAwayError) as caught:
        check(tmp_path, url)
    told = caught.value.message
    assert f"database_url = '{scheme}://u:********@127.0.0.1:{port}/x' ({ORIGIN})" in told
    assert "no database answers there" in told


def test_one_that_is_known_is_waited_for(database, tmp_path):
    parts = urlsplit(database)

    async def scenario():
        async with Relay(parts.hostname, parts.port) as relay:
            user = parts.netloc.rpartition("@")[0]
            url = parts._replace(netloc=f"{user}@127.0.0.1:{relay.port}").geturl()
            assert await asyncio.to_thread(check, tmp_path, url) == ""
            relay.cut()
            assert "is waited for" in await asyncio.to_thread(check, tmp_path, url)
            with pytest.raises(DatabaseAwayError):
                await asyncio.to_thread(check, tmp_path, f"{url}_other")

    asyncio.run(scenario())


def test_files_that_are_no_database_are_refused(tmp_path):
    other = tmp_path / "notes.txt"
    other.write_text("these are notes")
    for path in (other, tmp_path):
        with pytest.raises(SettingsError, match=f"database_url = 'sqlite:///{path}'"):
            check(tmp_path, f"sqlite:///{path}")
    with pytest.raises(StartError, match="database_url"):
        check(tmp_path, "sqlite:////proc/nowhere/x.db")
    assert check(tmp_path, f"sqlite:///{tmp_path / 'new' / 'x.db'}") == ""
    assert check(tmp_path, f"sqlite:///{tmp_path / 'new' / 'x.db'}") == ""
