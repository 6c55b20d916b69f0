"""Starts MindIE's daemon: `python _mindie_engine.py START.json`.

A program of its own that imports nothing of this package. MindIE takes some settings only from the
model's own files; where such are wanted, a directory of links to the model is made beside its
configuration with those files changed in it. The model itself is never written to.
"""

import json
import os
import sys
from typing import Any, cast

EXIT_CONFIG = 2


def main(arguments: list[str]) -> int:
    """Become the daemon; returns only when that cannot be."""
    if len(arguments) != 1:
        return _fail("usage: _mindie_engine.py START.json")
    try:
        with open(arguments[0], encoding="utf-8") as file:  # noqa: PTH123 - no import needed
            start: dict[str, Any] = json.load(file)
        if start["changes"]:
            overlay(start["model_path"], start["overlay"], start["changes"])
        daemon = os.path.join(start["program"], "bin", "mindieservice_daemon")  # noqa: PTH118
        os.chdir(os.path.dirname(daemon))  # noqa: PTH120
        os.execv(daemon, [daemon])  # noqa: S606 - this process becomes it
    except (OSError, ValueError, KeyError) as error:
        return _fail(f"MindIE cannot be started: {error!r}")


def overlay(model_path: str, folder: str, changes: dict[str, dict[str, Any]]) -> None:
    """Make `folder` look like the model with `changes`, file name -> what is merged into it."""
    os.makedirs(folder, mode=0o700, exist_ok=True)  # noqa: PTH103
    for name in os.listdir(model_path):  # noqa: PTH208
        place = os.path.join(folder, name)  # noqa: PTH118
        if name not in changes and not os.path.lexists(place):
            os.symlink(os.path.join(model_path, name), place)  # noqa: PTH118, PTH211
    for name, change in changes.items():
        merged = _merged(_read(os.path.join(model_path, name)), change)  # noqa: PTH118
        with open(os.path.join(folder, name), "w", encoding="utf-8") as file:  # noqa: PTH118, PTH123
            json.dump(merged, file, indent=1)


def _read(path: str) -> dict[str, Any]:
    if not os.path.exists(path):  # noqa: PTH110
        return {}
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        return json.load(file)


def _merged(before: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(before)
    for key, value in change.items():
        old = merged.get(key)
        if isinstance(value, dict) and isinstance(old, dict):
            both = cast("dict[str, Any]", old), cast("dict[str, Any]", value)
            merged[key] = _merged(*both)
        else:
            merged[key] = value
    return merged


def _fail(message: str) -> int:
    print(f"engine failed: {message}", file=sys.stderr, flush=True)  # noqa: T201
    return EXIT_CONFIG


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
