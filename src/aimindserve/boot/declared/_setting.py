"""What a setting is: one declaration from which flag, environment name, YAML key, parsing,
`config show` and the reference pages are made. Must not know how values are found.
"""

import dataclasses
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Form(Enum):
    """How a value is written, and what is allowed; `boot.forms` parses each."""

    TEXT = "text"
    SWITCH = "switch"
    COUNT = "count"
    PORT = "port"
    PORT_RANGE = "port range"
    PATH = "path"
    URL = "url"
    DATABASE_URL = "database url"
    ADDRESS = "address"
    NAME = "name"
    ITEMS = "list"
    """Several values; in the environment a JSON list or separated by commas."""
    WORDS = "words"
    """Command-line words; in the environment a JSON list or separated as a shell does."""
    RESERVED = "reserved memory"
    OBJECT = "object"
    HARDWARE = "hardware"


class Stage(Enum):
    """Whether the program does anything with a setting yet."""

    ACTIVE = "active"
    LATER = "not active yet"
    """Accepted and checked; leaving it out or setting it makes no difference anybody could miss."""
    LATER_WARNS = "not active yet!"
    """As LATER, but whoever sets it expects something: say once that it does not happen yet."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. Its name and its section are those of the dataclass field it is put into."""

    form: Form
    help: str
    help_zh: str
    short: str = ""
    """A second flag of one letter, without the hyphen."""
    spellings: tuple[str, ...] = ()
    """Further flags, with their hyphens."""
    env: str = ""
    """The variable, when it is not GPUSTACK_ and the name in capitals."""
    computed: str = ""
    """What the default is, in words, when it depends on the machine or on other settings."""
    secret: bool = False
    stage: Stage = Stage.ACTIVE
    file_only: bool = False
    no_file: bool = False
    example: str = ""
    """A YAML value for the example file; the default where empty."""
    limit: tuple[int, int] = (0, 2**31)
    """Smallest and largest COUNT."""

    def field(self, default: Any = None) -> Any:
        """A dataclass field that carries this declaration."""
        return field(default=default, metadata={"setting": self})


@dataclass(frozen=True, slots=True)
class Declared:
    """A setting with all that its place says about it."""

    name: str
    """The YAML key and the field name."""
    section: str
    setting: Setting
    default: Any

    @property
    def flag(self) -> str:
        """The long flag."""
        return "--" + self.name.replace("_", "-")

    @property
    def flags(self) -> tuple[str, ...]:
        """Every flag, the short one first; none for a setting of the file alone."""
        if self.setting.file_only:
            return ()
        short = (f"-{self.setting.short}",) if self.setting.short else ()
        return (*short, self.flag, *self.setting.spellings)

    @property
    def env(self) -> str:
        """The environment variable; empty for a setting of the file alone."""
        if self.setting.file_only:
            return ""
        return self.setting.env or f"GPUSTACK_{self.name.upper()}"

    @property
    def active(self) -> bool:
        """Whether the program acts on it."""
        return self.setting.stage is Stage.ACTIVE


def declared_in(section: str, part: type) -> tuple[Declared, ...]:
    """The settings that the dataclass `part` declares, in the order written."""
    return tuple(
        Declared(item.name, section, item.metadata["setting"], item.default)
        for item in dataclasses.fields(part)
    )
