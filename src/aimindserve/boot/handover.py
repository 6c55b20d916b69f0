"""How the supervisor hands the settings to its children: a file that only this user can read.

Never arguments or environment: those show in process lists. A child may not need a setting, but all
children agree on all of them.
"""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimindserve.boot.forms import parse, plain
from aimindserve.boot.places import Places, places_of
from aimindserve.boot.settings import Settings, build, declared, value_of
from aimindserve.kit.secrets import write_private


def write_handover(settings: Settings, places: Places) -> Path:
    """Write the settings to their place and return it."""
    path = places.handover
    values = {name: plain(value_of(settings, item)) for name, item in declared().items()}
    write_private(path, json.dumps({"settings": values, "control_port": places.control_port}))
    return path


def forget_bootstrap_password(settings: Settings, places: Places) -> None:
    """Take the first administrator's password out of the file, once that administrator is there.

    Nobody needs it any more, not even the control plane when it is started again. Raises OSError.
    """
    if settings.server.bootstrap_password is not None:
        server = replace(settings.server, bootstrap_password=None)
        write_handover(replace(settings, server=server), places)


def read_handover(path: Path) -> tuple[Settings, Places]:
    """The settings as the supervisor wrote them."""
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    values: dict[str, Any] = {}
    for name, item in declared().items():
        raw = document["settings"].get(name)
        values[name] = None if raw is None else parse(item.setting, raw)
    settings = build(values)
    port: int = document["control_port"]
    return settings, replace(places_of(settings), control_port=port)
