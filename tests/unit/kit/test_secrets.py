"""Secrets: random, hashed under a key, written so that only this user can read them."""

import os
import stat
from pathlib import Path

from aimindserve.kit.secrets import (
    keyed_hash,
    new_api_key,
    new_secret,
    read_or_create,
    same,
    write_private,
)


def test_secrets_have_256_bits_and_differ() -> None:
    seen = {new_secret() for _ in range(100)}
    assert len(seen) == 100
    assert all(len(secret) == 43 for secret in seen)


def test_an_api_key_begins_with_its_prefix() -> None:
    key, prefix = new_api_key()
    assert key.startswith(prefix + "_")
    assert prefix.startswith("sk-aims_")


def test_a_keyed_hash_depends_on_key_and_secret() -> None:
    assert keyed_hash(b"a", "x") == keyed_hash(b"a", "x")
    assert keyed_hash(b"a", "x") != keyed_hash(b"b", "x")
    assert keyed_hash(b"a", "x") != keyed_hash(b"a", "y")
    assert same(keyed_hash(b"a", "x"), keyed_hash(b"a", "x"))
    assert not same("a", "ä")


def test_a_secret_file_is_private_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        value = read_or_create(tmp_path / "secrets" / "pepper")
    finally:
        os.umask(before)
    file = tmp_path / "secrets" / "pepper"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert read_or_create(file) == value
    write_private(file, "new\n")
    assert read_or_create(file) == "new"
    assert [entry.name for entry in file.parent.iterdir()] == ["pepper"], "no staging file is left"
