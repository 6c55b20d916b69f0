"""Random secrets and how they are kept: never themselves, only a keyed hash.

Secrets have 256 random bits, so a fast keyed hash is enough (HMAC-SHA-256);
passwords, which people choose, go through argon2id in `server.auth` instead.
"""

import base64
import hashlib
import hmac
import os
import secrets
from pathlib import Path

API_KEY_PREFIX = "sk-aims"
KEY_BYTES = 32


def new_secret() -> str:
    """256 random bits as 43 URL-safe characters."""
    return base64.urlsafe_b64encode(secrets.token_bytes(KEY_BYTES)).decode().rstrip("=")


def new_id() -> str:
    """A random identifier of 12 hexadecimal digits; unique enough among 10^5 objects."""
    return secrets.token_hex(6)


def new_api_key() -> tuple[str, str]:
    """(key, prefix): the key is shown once, the prefix may always be shown."""
    prefix = f"{API_KEY_PREFIX}_{secrets.token_hex(4)}"
    return f"{prefix}_{new_secret()}", prefix


def keyed_hash(pepper: bytes, secret: str) -> str:
    """What is stored instead of `secret`: HMAC-SHA-256 under the server's pepper, hexadecimal."""
    return hmac.new(pepper, secret.encode(), hashlib.sha256).hexdigest()


def same(left: str, right: str) -> bool:
    """Whether two secrets or hashes are equal, in constant time."""
    return hmac.compare_digest(left.encode(), right.encode())


def read_or_create(path: Path, make: str | None = None) -> str:
    """The secret in the file `path`; made (0600, whole or not at all) when there is none yet.

    Raises OSError when the directory cannot be written.
    """
    try:
        return path.read_text(encoding="utf-8").strip()
    except FileNotFoundError:
        value = make or new_secret()
        write_private(path, value + "\n")
        return value


def write_private(path: Path, text: str) -> None:
    """Write `text` to `path` so that only this user can read it, and never half of it."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    staging = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        staging.replace(path)
    except BaseException:
        staging.unlink(missing_ok=True)
        raise
