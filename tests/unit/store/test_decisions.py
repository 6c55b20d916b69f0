"""Decisions outlive the process, and what was asked can be asked again."""

import asyncio

from aimindserve.kit.clock import SystemClock
from aimindserve.store.decisions import Decisions
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.records.decisions import decision_records, question_records


def keep(backing, **more):
    clock = SystemClock()
    decisions, questions = decision_records(backing, clock), question_records(backing, clock)
    return Decisions(clock=clock, decisions=decisions, questions=questions, **more), questions


def test_another_process_finds_what_was_decided_and_asked():
    async def scenario():
        backing = MemoryBacking()
        first, _ = keep(backing)
        first.ask("abc", b"the question" * 1000)
        first.put("chat-1", {"shape": None, "question": "abc", "nested": {"scores": [0.1, 1]}})
        first.put("chat-1", {"shape": "cpu", "question": "abc", "nested": {"scores": [0.1, 1]}})
        await first._records.flush()
        second, _ = keep(backing)
        assert second.get("chat-1") is None
        assert (await first.find("chat-1")) == (await second.find("chat-1"))
        assert (await second.find("chat-1"))["shape"] == "cpu"
        await first._questions.flush()
        assert await second.question("abc") == b"the question" * 1000
        assert await second.question("other") is None
        assert await second.find("nobody") is None

    asyncio.run(scenario())


def test_a_question_too_large_to_keep_costs_only_its_replay():
    async def scenario():
        import random

        keeper, questions = keep(MemoryBacking())
        noise = random.Random(1).randbytes(5 * 1024**2)
        keeper.ask("big", noise)
        keeper.put("chat-1", {"question": "big"})
        assert await keeper.question("big") is None
        assert (await keeper.find("chat-1")) == {"question": "big"}
        assert await questions.count() == 0

    asyncio.run(scenario())


def test_without_records_memory_is_all_there_is():
    async def scenario():
        keeper = Decisions()
        assert not keeper.keeps_questions
        keeper.ask("abc", b"x")
        keeper.put("chat-1", {"a": 1})
        assert await keeper.find("chat-1") == {"a": 1}
        assert await keeper.question("abc") is None

    asyncio.run(scenario())
