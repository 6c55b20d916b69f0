"""Writes the OpenAPI document to a file: `python -m aimindserve.server.openapi_snapshot PATH`.

The committed copy (docs/reference/openapi.json) is what clients are generated from; a test compares
it with what the server says, so that no change of the API goes unseen.
"""

import json
import sys
from pathlib import Path
from typing import Any

from aimindserve.kit.clock import SystemClock
from aimindserve.server.app import create_app
from aimindserve.server.parts import ServerConfig, ServerParts
from aimindserve.store.leases import Leases
from aimindserve.store.memory import MemoryBacking
from aimindserve.store.resources import ResourceStore


class _NoDecisions:
    async def find(self, instance: str) -> None:
        """None is kept."""
        del instance

    async def question(self, digest: str) -> None:
        """None is kept."""
        del digest


def snapshot() -> dict[str, Any]:
    """The document of this version, which depends on no setting and no data."""
    clock = SystemClock()
    config = ServerConfig(
        version="0", data_dir=Path(), pepper=b"", join_token="", gateway_credential=""
    )
    store = ResourceStore(MemoryBacking(), clock)
    parts = ServerParts(store, Leases(clock), clock, _NoDecisions(), config)
    return create_app(parts).openapi()


def text(document: dict[str, Any]) -> str:
    """The document as it is committed."""
    return json.dumps(document, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(text(snapshot()), encoding="utf-8")
