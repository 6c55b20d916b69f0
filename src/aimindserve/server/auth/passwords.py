"""Passwords: argon2id, away from the event loop, two at a time, the same cost for unknown users.

Parameters follow OWASP's password storage sheet (m=19 MiB, t=2, p=1). Two slots bound the memory a
flood of sign-ins can take; beyond a short queue a sign-in is told to come back.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TYPE_CHECKING

from aimindserve.core.errors import InvalidError, ThrottledError
from aimindserve.kit.secrets import new_secret

if TYPE_CHECKING:
    from argon2 import PasswordHasher

TIME_COST = 2
MEMORY_KIB = 19 * 1024
PARALLELISM = 1
SLOTS = 2
QUEUE_MAX = 32

LENGTH_MIN = 8
LENGTH_MAX = 128
GENERATED_LENGTH = 20

_WELL_KNOWN = """
password password1 password123 passw0rd p@ssw0rd 12345678 123456789 1234567890 qwertyui
qwerty123 qwertyuiop 11111111 00000000 88888888 abcd1234 abc12345 1q2w3e4r 1qaz2wsx iloveyou
administrator admin123 admin1234 adminadmin changeme changeit letmein1 welcome1 welcome123
gpustack aimindserve
"""


class Passwords:
    """Hashes and checks passwords."""

    def __init__(self, queue_max: int = QUEUE_MAX) -> None:
        self._queue_max = queue_max
        self._executor = ThreadPoolExecutor(SLOTS, thread_name_prefix="password")
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """The argon2id hash of `password`, with its parameters and salt."""
        return await self._run(_hash, password, "")

    async def verify(self, password_hash: str | None, password: str) -> str | None:
        """The hash to keep from now on if `password` is right (another one when its parameters are
        old), None if it is wrong. `None` for an unknown user costs the same."""
        return await self._run(_verify, password, password_hash or "") or None

    def close(self) -> None:
        """Let go of the threads."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def _run(self, work: Callable[[str, str], str], password: str, known: str) -> str:
        if self._waiting >= self._queue_max:
            raise ThrottledError(
                "Too many people are signing in at once.", params={"retry_after_s": 2}
            )
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._executor, work, password, known)
        finally:
            self._waiting -= 1


def check_new(password: str, user: str) -> None:
    """Raise InvalidError for a password that is too short, too long, or on everybody's list."""
    problem = ""
    if not LENGTH_MIN <= len(password) <= LENGTH_MAX:
        problem = f"The password must have {LENGTH_MIN} to {LENGTH_MAX} characters."
    elif is_weak(password, user):
        problem = "The password is one that is tried first."
    if problem:
        raise InvalidError(
            problem,
            hint="A few random words make a good one.",
            params={"fields": ["password"]},
        )


def is_weak(password: str, user: str) -> bool:
    """Whether `password` is short, well known, or the user's own name."""
    lower = password.lower()
    return len(password) < LENGTH_MIN or lower in _WELL_KNOWN.split() or lower == user.lower()


def generate() -> str:
    """A password for somebody's first sign-in: 120 random bits."""
    return new_secret()[:GENERATED_LENGTH]


def _hash(password: str, _known: str) -> str:
    return _hasher().hash(password)


def _verify(password: str, known: str) -> str:
    from argon2.exceptions import InvalidHashError, VerificationError

    hasher = _hasher()
    nobody = _nobodys_hash()  # made on any first sign-in, so that the first unknown one is not slow
    try:
        hasher.verify(known or nobody, password)
    except (VerificationError, InvalidHashError):
        return ""
    if not known:
        return ""
    return hasher.hash(password) if hasher.check_needs_rehash(known) else known


@cache
def _hasher() -> "PasswordHasher":
    from argon2 import PasswordHasher

    return PasswordHasher(time_cost=TIME_COST, memory_cost=MEMORY_KIB, parallelism=PARALLELISM)


@cache
def _nobodys_hash() -> str:
    return _hasher().hash(new_secret())
