"""Any order of placing, loading, measuring, stopping and other people's comings and goings: what
others were measured to use and what we have promised never exceed a device, and what has become
free can be had again."""

from dataclasses import replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from aimindserve.core.device import (
    EMPTY_USAGE,
    Device,
    DeviceUsage,
    EngineUsage,
    Inventory,
    MemoryParts,
    Reserved,
)
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.scheduler.ledger import (
    LOOKS_AT_LEAVING,
    Holding,
    Machine,
    accounts,
    attribution,
    claims_here,
)

CARD = "w:cuda:0"
TOTAL, RESERVED = 100, 4
STEADY_LOOKS = 2
"""An engine that holds the same twice has taken what it wanted."""
INVENTORY = Inventory(
    *("linux", "", "", "", "amd64", ""),
    8,
    1000,
    0,
    0.0,
    (),
    (Device(CARD, 0, "cuda", "", "", TOTAL),),
)


class Life:
    """One instance as it really is."""

    def __init__(self, claim, need):
        self.claim, self.need = claim, need
        self.held = 0
        self.state = "placed"
        self.known = True
        """Whether the store still has it."""
        self.apart = True
        """Nobody else came between the measurements before and after it came."""


class Device1(RuleBasedStateMachine):
    """The truth, and a ledger that only hears measurements."""

    @initialize(tells=st.booleans())
    def begin(self, tells):
        self.tells = tells
        """Whether the driver says who holds what."""
        self.lives = {}
        self.coming = set()
        """Who is not known to hold what it wanted, or was not at the last measurement."""
        self.foreign = 0
        self.residue = 0
        """What the driver has not cleared of engines that have ended."""
        self.usage = EMPTY_USAGE
        self.heard_foreign = 0
        self.attribution = {}
        self.measure()

    # the world

    @rule(size=st.integers(0, 60))
    def others_come_or_go(self, size):
        """A driver that does not tell cannot be understood if others come while an engine changes:
        then they come between two measurements with nothing else between them. Of an engine that
        holds nothing yet no driver tells."""
        if self.tells and any(life.state == "loading" and not life.held for life in self.living()):
            return
        if not self.tells:
            if not self.quiet() or self.residue:
                return
            self.measure()
            self.measure()
        used = sum(life.held for life in self.lives.values()) + self.residue
        self.foreign = min(size, TOTAL - used)
        if not self.tells:
            self.measure()

    @rule(data=st.data())
    def an_engine_starts_or_grows(self, data):
        going = [life for life in self.lives.values() if life.state in ("placed", "loading")]
        if not going:
            return
        life = data.draw(st.sampled_from(going))
        life.state = "loading"
        self.coming.add(life)
        for each in self.coming if len(self.coming) > 1 else ():
            each.apart = False
        life.held = min(life.need, life.held + data.draw(st.integers(0, 20)))

    @rule(data=st.data())
    def an_engine_is_ready(self, data):
        loading = [life for life in self.lives.values() if life.state == "loading"]
        if loading:
            life = data.draw(st.sampled_from(loading))
            life.state, life.held = "ready", life.need

    @rule(data=st.data())
    def an_engine_crashes(self, data):
        living = [life for life in self.lives.values() if life.state in ("loading", "ready")]
        if living and self.tells:
            life = data.draw(st.sampled_from(living))
            life.state, life.held = "placed", 0

    @rule(data=st.data(), at_once=st.booleans())
    def an_instance_ends(self, data, at_once):
        """Its worker stops it, measures, and then says that it is gone. Of a driver that does not
        tell, nobody can know what the one that ends held while another was loading beside it, or
        whether it had come together with another."""
        if not self.lives or (not self.tells and not self.quiet()):
            return
        name = data.draw(st.sampled_from(sorted(self.lives)))
        if not self.tells and not self.lives[name].apart:
            return
        if not self.tells:
            self.measure()  # who was never seen cannot be known to be leaving
        life = self.lives.pop(name)
        if not at_once:
            self.residue += life.held
        self.measure()

    @rule()
    def the_driver_clears_up(self):
        self.residue = 0

    @precondition(lambda self: self.tells)
    @rule()
    def the_server_restarts(self):
        self.attribution = {}
        self.measure()

    # what the ledger hears and does

    @rule()
    def measure(self):
        engines = tuple(
            EngineUsage(
                name,
                name,
                ready=life.state == "ready",
                devices=((CARD, life.held),) if self.tells and life.held else (),
            )
            for name, life in sorted(self.lives.items())
            if life.state in ("loading", "ready")
        )
        used = self.foreign + self.residue + sum(life.held for life in self.lives.values())
        self.usage = replace(EMPTY_USAGE, devices=(DeviceUsage(CARD, used),), engines=engines)
        self.attribution = attribution(
            self.usage, claims_here("w", self.holdings()), self.attribution
        )
        self.heard_foreign = self.foreign + self.residue
        self.coming = {life for life in self.coming if life.state == "loading"}

    @rule(claim=st.integers(1, 60), share=st.integers(1, 4))
    def place(self, claim, share):
        if claim <= self.account().free:
            name = f"p{len(self.lives)}-{claim}-{self.account().free}"
            self.lives[name] = Life(claim, max(1, claim * share // 4))
            promised = sum(life.claim for life in self.lives.values())
            assert promised + self.heard_foreign + RESERVED <= TOTAL

    @invariant()
    def what_is_free_is_had(self):
        """Once everything is measured, what is really free may be asked for. Of a driver that does
        not tell, what the last one to end held could be of one that has just become ready: for so
        long it counts as not cleared up yet."""
        if not hasattr(self, "usage"):
            return
        if self.quiet() and not self.residue:
            kept = self.usage, self.attribution, self.heard_foreign, self.coming
            for _ in range(1 if self.tells else LOOKS_AT_LEAVING + STEADY_LOOKS):
                self.measure()
            held = sum(max(life.claim, life.held) for life in self.lives.values())
            assert self.account().free == max(TOTAL - RESERVED - self.foreign - held, 0)
            self.usage, self.attribution, self.heard_foreign, self.coming = kept

    def living(self):
        return self.lives.values()

    def quiet(self):
        return all(life.state in ("ready", "placed") for life in self.lives.values())

    def holdings(self):
        return [
            Holding("d", Placement(name, "", (Rank("w", (Claim(CARD, MemoryParts(life.claim)),)),)))
            for name, life in self.lives.items()
        ]

    def account(self):
        machine = Machine(
            "w",
            True,
            False,
            INVENTORY,
            usage=self.usage,
            reserved=Reserved(0, RESERVED),
            attribution=self.attribution,
        )
        return accounts(machine, self.holdings()).devices[CARD]


Device1.TestCase.settings = settings(max_examples=30, stateful_step_count=30, deadline=None)
test_any_order_of_events_keeps_the_promise = Device1.TestCase
