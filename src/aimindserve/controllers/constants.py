"""Every number the controllers act on, in one place, each with its reason.

Tests, the simulation and operators replace single values with `dataclasses.replace`.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ControllerConstants:
    """Times in seconds."""

    resync_s: float = 600.0
    """How often every key runs although nothing woke it: the net below lost wakes."""
    reconcile_limit_s: float = 60.0
    """A single reconcile that takes longer is broken off and tried again."""
    workers_per_controller: int = 1
    watchdog_tick_s: float = 1.0
    stalled_after_s: float = 5.0
    """A loop that slept this much longer than it meant to was stalled: silence proves nothing."""

    lost_after_s: float = 40.0
    """Four missed reports of ten seconds: the worker is not ready, its instances are not routed."""
    lost_look_s: float = 1.0
    """How often a silent worker is looked at again, so that it is ready soon after it returns."""
    evict_after_s: float = 120.0
    """Silence after which a worker's instances are replaced elsewhere."""
    evict_listening_s: float = 120.0
    """Nobody is evicted before the lease table has listened this long."""
    evict_interval_s: float = 10.0
    """At most one worker is evicted in this time."""
    freeze_window_s: float = 300.0
    freeze_share: float = 0.33
    freeze_workers_min: int = 3
    """This many workers, and more than this share of all, lost within the window: it is the network
    or us, not them. Nothing is evicted until enough of them are back."""

    surge_max: int = 1
    """How many instances more than asked for may exist while a new generation replaces the old."""
    room_settle_s: float = 3.0
    """How long a new instance stays refused for lack of room before an old one makes room."""

    batch_s: float = 0.02
    """How long the scheduler waits for more changes before it plans."""
    refused_look_s: float = 120.0
    """How often a refused instance is looked at though nothing woke the scheduler: a net below lost
    wakes. Whatever can make room wakes it at once."""
    first_reports_s: float = 15.0
    """How long after a start plans wait for the ready workers' first reports."""
    first_reports_look_s: float = 0.25
    asks_per_plan: int = 64
    """Instances planned at once: a plan must not hold up the event loop."""


DEFAULTS = ControllerConstants()
