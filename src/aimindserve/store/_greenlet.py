"""Running blocking database code on the event loop: SQLAlchemy's own bridge, without its ORM.

`sqlalchemy.ext.asyncio` is this bridge too, but importing it loads the whole object-relational
mapper, which costs every start of the control plane time and memory that it never uses.
"""

import asyncio
from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.util import greenlet_spawn

T = TypeVar("T")


async def run_blocking(work: Callable[[], T], timeout_s: float | None) -> T:
    """Run `work`, whose database calls give way to other tasks; raises asyncio.TimeoutError."""
    return await asyncio.wait_for(greenlet_spawn(work), timeout_s)
