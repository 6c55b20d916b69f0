"""The safety properties of decide, life and board together, under any order of events.

A little world answers the actions: starts succeed or fail, engines die or hang, stops take a while
or do not succeed, the desired set changes under them, the agent dies and comes back.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aimindserve.core.reason import Reason
from aimindserve.worker import board as events
from aimindserve.worker.board import Board
from aimindserve.worker.decide import Check, Forget, Start, Stop, decide
from aimindserve.worker.life import Answer
from aimindserve.worker.observed import Moment, belongs
from aimindserve.worker.recall import kept_courses, recall
from aimindserve.worker.state import AgentState
from unit.worker.world import PRESENT, PROBE, desired, handle, wanted

PORTS = (40000, 40002)
NAMES = ("a", "b", "c", "d")


class Worker(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.now = 100.0
        self.board = Board(PORTS)
        self.want = desired()
        self.pending = []
        self.living = {}
        """The truth: token -> handle of every process that really lives."""
        self.tokens = 0
        self.runs = {}

    @property
    def at(self):
        return Moment(self.now, self.now + 1e9)

    @rule(names=st.sets(st.sampled_from(NAMES)), placement=st.sampled_from(("p1", "p2")))
    def want_these(self, names, placement):
        self.want = desired(*(wanted(name, placement) for name in sorted(names)))

    @rule(names=st.sets(st.sampled_from(NAMES)), restart=st.booleans())
    def want_these_maybe_without_restart(self, names, restart):
        self.want = desired(*(wanted(n, restart_on_error=restart) for n in sorted(names)))

    @rule(seconds=st.sampled_from((0.0, 0.3, 3.0, 70.0, 700.0)))
    def pass_time(self, seconds):
        self.now += seconds

    @rule()
    def step(self):
        seen = self.board.snapshot()
        for action in decide(self.want, seen, self.now):
            if isinstance(action, Start):
                self.check_start(action)
            if isinstance(action, Stop):
                assert not action.process.stopping
            if isinstance(action, Check):
                assert not action.process.checking
                assert not action.process.stopping
            assert action not in self.pending
            self.board.mark(action)
            if isinstance(action, Forget):
                self.runs.pop(action.instance, None)
            else:
                self.pending.append(action)

    def check_start(self, action):
        name = action.assignment.instance
        assert name not in {h.instance for h in self.living.values()}
        assert action.port not in {h.port for h in self.living.values()}
        others = [a for a in self.pending if isinstance(a, Start)]
        assert name not in {a.assignment.instance for a in others}
        assert action.port not in {a.port for a in others}
        assert PORTS[0] <= action.port <= PORTS[1]
        assert action.run > self.runs.get(name, 0)
        self.runs[name] = action.run

    @precondition(lambda self: self.pending)
    @rule(data=st.data(), good=st.booleans())
    def finish_one(self, data, good):
        action = self.pending.pop(data.draw(st.integers(0, len(self.pending) - 1)))
        self.board.apply(self.outcome(action, good, data), self.at, 0.5)

    def outcome(self, action, good, data):
        if isinstance(action, Start):
            return self.started(action) if good else events.NotStarted(action, self.reason(data))
        if isinstance(action, Stop):
            if not good:
                return events.NotStopped(action)
            self.living.pop(action.process.token, None)
            return events.Stopped(action, action.failure)
        if isinstance(action, Check):
            if action.process.token not in self.living:
                return events.Checked(action, gone=Reason("engine_exited", {"status": "1"}))
            return events.Checked(action, answer=data.draw(st.sampled_from(Answer)))
        return events.Looked(action, PRESENT)

    def started(self, action):
        self.tokens += 1
        a = action.assignment
        one = handle(
            a.instance, a.placement.id, token=f"t{self.tokens}", port=action.port, run=action.run
        )
        self.living[one.token] = one
        return events.Started(action, one, PROBE, 1.0)

    @staticmethod
    def reason(data):
        return Reason(data.draw(st.sampled_from(("launch_failed", "bad_param"))))

    @precondition(lambda self: self.living)
    @rule(data=st.data())
    def an_engine_dies(self, data):
        self.living.pop(data.draw(st.sampled_from(sorted(self.living))))

    @rule(data=st.data())
    def the_agent_dies(self, data):
        """Starts under way may have reached the system or not; nothing else is lost."""
        state = AgentState("m", None, kept_courses(self.board))
        for action in self.pending:
            if isinstance(action, Start) and data.draw(st.booleans()):
                self.started(action)
        self.pending.clear()
        self.board = Board(PORTS)
        recall(self.board, state, list(self.living.values()), self.at)

    @invariant()
    def one_process_per_instance(self):
        names = [h.instance for h in self.living.values()]
        assert len(names) == len(set(names))

    @invariant()
    def no_two_engines_on_one_port(self):
        ports = [h.port for h in self.living.values()]
        assert len(ports) == len(set(ports))

    @invariant()
    def nothing_lives_unknown(self):
        assert set(self.living) <= set(self.board.processes)

    def teardown(self):
        """When nothing goes wrong any more, what runs becomes what is wanted."""
        self.want = desired(*(wanted(n, "p9") for n in self.want_names()[:3]))
        for _ in range(60):
            self.now += 70.0
            self.step()
            while self.pending:
                action = self.pending.pop(0)
                self.board.apply(self.good_outcome(action), self.at, 0.5)
        expected = {a.instance for a in self.want.instances}
        assert {h.instance for h in self.living.values()} == expected
        for process in self.board.processes.values():
            assert any(belongs(process, a) for a in self.want.instances)

    def want_names(self):
        return [a.instance for a in self.want.instances]

    def good_outcome(self, action):
        if isinstance(action, Check) and action.process.token in self.living:
            return events.Checked(action, answer=Answer.READY)
        return self.outcome(action, True, None)


Worker.TestCase.settings = settings(max_examples=12, stateful_step_count=30, deadline=None)
TestWorker = Worker.TestCase
