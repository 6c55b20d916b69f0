"""The ways in which what is wanted can contradict what is there, worded once for every backing."""

from aimindserve.core.errors import ExistsError, NotFoundError, StaleError


def missing(kind: str, name: str) -> NotFoundError:
    """There is no such object."""
    return NotFoundError(f"There is no {kind} called {name}.", params={"kind": kind, "name": name})


def taken(kind: str, name: str) -> ExistsError:
    """There is one already."""
    return ExistsError(
        f"There is already a {kind} called {name}.", params={"kind": kind, "name": name}
    )


def stale(kind: str, name: str, *, present: int, expected: int) -> StaleError:
    """It is not at the revision it was expected at."""
    return StaleError(
        f"The {kind} {name} has changed since it was read: it is at revision {present}, "
        f"not {expected}.",
        hint="Read it again and repeat the change.",
        params={"kind": kind, "name": name, "revision": present, "expected": expected},
    )


def no_database(where: str) -> NotFoundError:
    """Nothing of ours is kept there, and nothing was to be made."""
    return NotFoundError(
        f"There is no database of aiMindServe at {where}.",
        params={"kind": "database", "name": where},
    )
