"""Finding the settings of this process: what `start` and `config show` both do."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

from aimindserve.boot.file import read_file
from aimindserve.boot.resolve import FlagValue, Resolved, Sources, resolve
from aimindserve.boot.settings import this_machine

SERVER_URL = "GPUSTACK_SERVER_URL"
"""The server this machine belongs to: `start` joins it, commands talk to it. What can only mean a
server of its own does not read it."""


def load(
    flags: Mapping[str, FlagValue], *, strict: bool = True, unread: Collection[str] = ()
) -> Resolved:
    """The settings from `flags` (by setting name), the environment and the file they name.

    `unread`: variables that do not count. Raises SettingsError, with everything that is wrong at
    once; see `resolve` for `strict`.
    """
    machine = this_machine()
    if unread:
        environ = {name: text for name, text in machine.environ.items() if name not in unread}
        machine = replace(machine, environ=environ)
    named, origin = flags.get("config_file"), "flag --config-file"
    if named is None:
        named, origin = (
            machine.environ.get("GPUSTACK_CONFIG_FILE"),
            "environment GPUSTACK_CONFIG_FILE",
        )
    entries = read_file(Path(str(named)).expanduser().absolute(), origin) if named else []
    return resolve(Sources(flags, entries, machine), strict=strict)
