"""httpx without its own command line.

Importing httpx also imports its command line, and with that click, rich and pygments: half of its
time to load (measured: 85 of 183 ms), which every command of ours would pay. httpx takes an
ImportError there for "not installed" and goes on, so the part is hidden while httpx loads.
Import httpx from here.
"""

import importlib
import sys
from typing import Any, cast

_HIDDEN = "httpx._main"


def _load() -> None:
    modules = cast("dict[str, Any]", sys.modules)
    if "httpx" in modules:
        return
    modules[_HIDDEN] = None
    try:
        importlib.import_module("httpx")
    finally:
        del modules[_HIDDEN]


_load()

import httpx  # noqa: E402 - after the hidden part is out of the way

__all__ = ["httpx"]
