"""Database URLs: what is taken, what is refused, and that no password is ever shown."""

import asyncio

import pytest

from aimindserve.core.errors import SettingsError
from aimindserve.store import urls
from aimindserve.store.urls import backing_for, check_url, masked


@pytest.mark.parametrize(
    ("url", "kind"),
    [
        ("sqlite:///relative.db", "sqlite"),
        ("sqlite:////var/lib/aims/database.db", "sqlite"),
        ("sqlite:///C:\\data\\database.db", "sqlite"),
        ("postgresql://user:password@host:5432/name", "postgresql"),
        ("postgres://user@host/name", "postgresql"),
        ("postgresql://u:p%40ss@host/name?sslmode=require", "postgresql"),
        ("mysql://user:password@host:3306/name", "mysql"),
        ("mariadb://user:password@host/name?ssl=true", "mysql"),
    ],
)
def test_the_forms_that_are_taken(url: str, kind: str) -> None:
    assert check_url(url) == kind


@pytest.mark.parametrize(
    "url",
    [
        "",
        "database.db",
        "oracle://scott:tiger@host/name",
        "redis://localhost",
        "sqlite://",
        "sqlite:///",
        "sqlite://host/file.db",
        "postgresql:///name",
        "postgresql://host",
        "postgresql://host:port/name",
        "mysql://user:secret@host/",
        "postgresql://u:secret@host/name?options=-c%20x",
        "postgresql+psycopg2://u:secret@host/name",
    ],
)
def test_everything_else_is_refused_with_what_is_allowed(url: str) -> None:
    with pytest.raises(SettingsError, match="database URL") as refused:
        backing_for(url)
    assert "sqlite:///" in refused.value.hint
    assert "secret" not in str(refused.value) + str(refused.value.params)


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="asyncpg") as refused:
        backing_for("postgresql://u:secret@host/name")
    assert "aimindserve[postgres]" in refused.value.hint
    assert "secret" not in str(refused.value)


def test_masks() -> None:
    assert masked("mysql://u:p@ss@host/name") == "mysql://u:********@host/name"
    assert masked("mysql://u@host/name") == "mysql://u@host/name"
    assert masked("sqlite:////a/b.db") == "sqlite:////a/b.db"


def test_a_backing_connects_to_nothing_before_it_is_opened() -> None:
    assert backing_for("postgresql://u@192.0.2.1/name").shared
    assert not backing_for("sqlite:////no/such/folder/x.db").shared
    asyncio.run(backing_for("sqlite:////no/such/folder/x.db").close())
