"""Memory and SQLite must not differ in anything that can be seen, whatever is done to them."""

import asyncio
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from aimindserve.core.errors import AimsError
from aimindserve.kit.clock import SystemClock
from aimindserve.resources.user import UserSpec
from aimindserve.store.base import Backing, Draft
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore
from contract.store.places import place

NAMES = st.sampled_from(["ada", "bob", "carl"])
TEXTS = st.text(max_size=5)
LABELS = st.dictionaries(st.sampled_from(["a", "b"]), TEXTS, max_size=2)
OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("create"), NAMES, TEXTS, LABELS),
        st.tuples(st.just("replace"), NAMES, st.integers(0, 3), TEXTS),
        st.tuples(st.just("label"), NAMES, st.integers(0, 1), LABELS),
        st.tuples(st.just("update"), NAMES, TEXTS),
        st.tuples(st.just("delete"), NAMES),
        st.tuples(st.just("reopen")),
    ),
    max_size=25,
)


class StillClock(SystemClock):
    def now(self) -> float:
        return 1_700_000_000.1234


async def play(backing: Backing, operations: list[tuple[Any, ...]]) -> list[Any]:
    """Everything that can be seen while and after `operations` are done."""
    ids = iter(range(1_000))

    def new() -> ResourceStore:
        return ResourceStore(backing, StillClock(), lambda: f"id-{next(ids)}")

    store, seen = new(), []
    await store.open()
    for operation in operations:
        if operation[0] == "reopen":
            await store.close()
            store = new()
            await store.open()
        else:
            try:
                seen.append(await _do(store, *operation))
            except AimsError as error:
                seen.append((type(error), error.message, error.params))
        seen.append((store.revision, store.list("user")))
    watch = store.watch(["user"], since=0)
    while store.revision:
        event = await asyncio.wait_for(anext(watch), 5)
        seen.append(event)
        if event.revision == store.revision:
            break
    await store.close()
    return seen


async def _do(store: ResourceStore, verb: str, name: str, *rest: Any) -> Any:
    if verb == "create":
        return await store.create(Draft("user", name, UserSpec(full_name=rest[0]), labels=rest[1]))
    if verb == "update":
        return await store.update(
            "user", name, lambda user: replace(user, spec=UserSpec(full_name=rest[0]))
        )
    if verb == "delete":
        return await store.delete("user", name)
    found = store.find("user", name)
    revision = (found.metadata.revision if found else 1) - rest[0]
    if verb == "label":
        return await store.replace("user", name, revision=revision, labels=rest[1])
    return await store.replace("user", name, revision=revision, spec=UserSpec(full_name=rest[1]))


@settings(max_examples=30, deadline=None, database=None)
@given(OPERATIONS)
def test_memory_and_sqlite_are_the_same(operations: list[tuple[Any, ...]]) -> None:
    async def run(folder: str) -> None:
        with place("sqlite", Path(folder)) as sqlite:
            assert await play(sqlite.backing(), operations) == await play(
                MemoryBacking(), operations
            )

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(run(folder))
