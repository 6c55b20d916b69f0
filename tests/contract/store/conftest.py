"""Every test of this folder that asks for `rows` runs on all four; `database` leaves out memory."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from contract.store.places import Place, place

DATABASES = ("sqlite", "postgresql", "mysql")


@pytest.fixture(params=("memory", *DATABASES))
def rows(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=DATABASES)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, tmp_path) as made:
        yield made


@pytest.fixture(params=("memory", "postgresql", "mysql"))
def shared(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    with place(request.param, tmp_path) as made:
        yield made


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Place]:
    with place("sqlite", tmp_path) as made:
        yield made


@pytest.fixture
def postgresql(tmp_path: Path) -> Iterator[Place]:
    with place("postgresql", tmp_path) as made:
        yield made
