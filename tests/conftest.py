"""For all tests: which files are begun first when several processes share the work.

Files are handed out whole, so that what a file sets up is set up once; the longest go first, or one
process would still be at it when the others have nothing left to do.
"""

import os

from hypothesis import settings

# What CI says must be so again tomorrow; chance looks for new cases everywhere else.
settings.register_profile("ci", derandomize=True)
if os.environ.get("CI") or os.environ.get("AIMS_TEST_SAME_AGAIN"):
    settings.load_profile("ci")

LONGEST = "test_seeds.py"
FIRST = ("simulation", "e2e", "contract", "integration", "golden", "architecture", "unit")


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        items.sort(key=_turn)


def _turn(item):
    folder = item.path.parts[len(item.config.rootpath.parts) + 1]
    place = FIRST.index(folder) if folder in FIRST else len(FIRST)
    return place, item.path.name != LONGEST
