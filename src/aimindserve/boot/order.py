"""What the supervisor may say to a child, one word a line."""

from enum import Enum


class Order(str, Enum):
    """What the supervisor may say."""

    END_STREAMS = "end-streams"
    """The end is near: streams that never end by themselves end now, and nobody waits for them."""
    STOP = "stop"
    """End in order."""
    STOP_NOW = "stop-now"
    """End without waiting for anybody."""
