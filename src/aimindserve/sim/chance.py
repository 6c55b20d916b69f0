"""Randomness of a run: one independent stream per part, all from one seed.

Separate streams keep a run readable: a part that draws once more does not change what every other
part does. Seeding by text is the same in every process, whatever the interpreter's hash seed.
"""

import random
from collections.abc import Callable


def stream(seed: int, part: str) -> random.Random:
    """The random numbers of `part` in the run `seed`."""
    return random.Random(f"{seed}/{part}")  # noqa: S311 - reproducible on purpose, guards nothing


def ids(rng: random.Random) -> Callable[[], str]:
    """What `kit.secrets.new_id` gives, drawn from `rng`."""
    return lambda: f"{rng.getrandbits(48):012x}"
