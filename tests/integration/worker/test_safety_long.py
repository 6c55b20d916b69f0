"""The safety properties of `unit/worker/test_safety.py` with many more orders of events."""

from hypothesis import settings

from unit.worker.test_safety import Worker


class ManyWorker(Worker):
    """The same world."""


ManyWorker.TestCase.settings = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestManyWorkers = ManyWorker.TestCase
