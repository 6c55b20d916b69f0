"""Shorter pauses of a long-lived process.

Python's collector looks for cycles among all objects there are, and everything waits meanwhile:
with a thousand workers that is what the slowest plans are slow by (tests/bench/scheduler.py prints
them with and without this). What a process was built of stays as long as it does, so it is taken
out of the search; what was made since is searched in full more rarely. Reference counts free nearly
everything here at once; cycles wait a little longer.
"""

import gc

YOUNG, MIDDLE, OLD = 10_000, 10, 50
"""Allocations in excess of frees before the youngest are searched, and how many such searches
before the older ones are: by default 700, 10 and 10."""


def shorten() -> None:
    """To be called once, when the process has loaded what it needs."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG, MIDDLE, OLD)
