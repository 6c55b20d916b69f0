"""Finding the settings of this process: what `start` and `config show` both do."""

from collections.abc import Mapping
from pathlib import Path

from aimindserve.boot.file import read_file
from aimindserve.boot.resolve import FlagValue, Resolved, Sources, resolve
from aimindserve.boot.settings import this_machine


def load(flags: Mapping[str, FlagValue]) -> Resolved:
    """The settings from `flags` (by setting name), the environment and the file they name.

    Raises SettingsError, with everything that is wrong at once.
    """
    machine = this_machine()
    named, origin = flags.get("config_file"), "flag --config-file"
    if named is None:
        named, origin = (
            machine.environ.get("GPUSTACK_CONFIG_FILE"),
            "environment GPUSTACK_CONFIG_FILE",
        )
    entries = read_file(Path(str(named)).expanduser().absolute(), origin) if named else []
    return resolve(Sources(flags, entries, machine))
