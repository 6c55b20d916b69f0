"""The settings of one start: one typed tree, and the only file that reads the environment.

    flag > environment > YAML file > default

Everything about a setting is declared once in `boot.declared`; finding values is in `boot.resolve`.
"""

import getpass
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from aimindserve.boot.declared._setting import Declared, declared_in
from aimindserve.boot.declared.general import General
from aimindserve.boot.declared.ray import Ray
from aimindserve.boot.declared.server import Server
from aimindserve.boot.declared.sign_in import SignIn
from aimindserve.boot.declared.worker import Worker

SECTIONS: Mapping[str, type] = {
    "general": General,
    "server": Server,
    "sign_in": SignIn,
    "ray": Ray,
    "worker": Worker,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Every setting with its value."""

    general: General
    server: Server
    sign_in: SignIn = field(default_factory=SignIn)
    ray: Ray = field(default_factory=Ray)
    worker: Worker

    @property
    def worker_only(self) -> bool:
        """Whether this machine joins a server instead of being one."""
        return self.worker.server_url is not None

    @property
    def tls(self) -> bool:
        """Whether the server's door speaks TLS."""
        return self.server.ssl_certfile is not None


@dataclass(frozen=True, slots=True)
class Machine:
    """What defaults and rules need to know of this machine."""

    platform: str
    """As `sys.platform`: linux, darwin, win32."""
    is_root: bool
    home: Path
    environ: Mapping[str, str]


@cache
def declared() -> Mapping[str, Declared]:
    """Every setting by name, in the order of the reference pages."""
    every = (item for name, part in SECTIONS.items() for item in declared_in(name, part))
    return {item.name: item for item in every}


def build(values: Mapping[str, Any]) -> Settings:
    """The tree from typed values by name; what is missing has its declared default."""
    parts: dict[str, Any] = {
        section: part(
            **{
                item.name: values[item.name]
                for item in declared_in(section, part)
                if item.name in values
            }
        )
        for section, part in SECTIONS.items()
    }
    return Settings(**parts)


def value_of(settings: Settings, item: Declared) -> Any:
    """The value of one declared setting."""
    return getattr(getattr(settings, item.section), item.name)


def this_machine() -> Machine:
    """The machine that this process runs on."""
    geteuid = getattr(os, "geteuid", None)
    root = geteuid() == 0 if geteuid is not None else False
    return Machine(sys.platform, root, Path.home(), environment())


def environment() -> Mapping[str, str]:
    """The environment of this process; commands that need a variable ask here."""
    return dict(os.environ)  # noqa: TID251 - this is the one place that reads the environment


def account() -> str:
    """The name of the user this process runs as, for messages."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "this user"


def default_data_dir(machine: Machine) -> Path:
    """Where data is kept when nobody says: the place the system has for it."""
    if machine.platform == "win32":
        roaming = machine.environ.get("APPDATA")
        return (Path(roaming) if roaming else machine.home / "AppData/Roaming") / "aimindserve"
    if machine.platform == "darwin":
        base = Path("/Library") if machine.is_root else machine.home / "Library"
        return base / "Application Support" / "aimindserve"
    if machine.is_root:
        return Path("/var/lib/aimindserve")
    shared = machine.environ.get("XDG_DATA_HOME", "")
    base = Path(shared) if shared.startswith("/") else machine.home / ".local/share"
    return base / "aimindserve"
