"""The verdict of a preview: whether a deployment would fit, in a word."""

FITTING = frozenset({"fits", "tight", "distributed", "cpu_only"})
"""It would be placed, all of it. `overcommitted` would start, too, and may run out of memory."""
VERDICTS = FITTING | {"overcommitted", "fits_after", "no", "unknown"}
