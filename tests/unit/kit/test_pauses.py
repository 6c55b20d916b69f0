"""What a process was built of is not searched for cycles again and again."""

import subprocess
import sys

PROGRAM = """
import gc, weakref
from aimindserve.kit.pauses import MIDDLE, OLD, YOUNG, shorten
class Node: pass
kept = [Node() for _ in range(1000)]
shorten()
assert gc.get_threshold() == (YOUNG, MIDDLE, OLD)
assert gc.get_freeze_count() > 1000
assert not any(each is one for each in gc.get_objects() for one in kept[:1])
one = Node(); one.itself = one
gone = weakref.ref(one); del one
gc.collect()
assert gone() is None, "cycles made later are found"
"""


def test_it_is_taken_out_of_the_search_and_cycles_made_later_are_not():
    subprocess.run([sys.executable, "-c", PROGRAM], check=True)
