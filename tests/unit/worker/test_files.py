import asyncio
import json
import os

import pytest

from aimindserve.core.errors import NotFoundError, UnavailableError
from aimindserve.core.facts import Category, ModelRef, SourceName
from aimindserve.core.report import FileState
from aimindserve.sources._all import sources
from aimindserve.sources.local import Part
from aimindserve.worker import model_directory
from aimindserve.worker.files import ModelFiles
from unit.formats import safetensors_files
from unit.worker.world import header_only_gguf


def look(model, before=None, given=None):
    files = ModelFiles(given or sources(), "/cache")
    return asyncio.run(files.look("w1", model, before))


def local(path):
    return ModelRef(SourceName.LOCAL, path=str(path))


def test_a_model_is_read(tmp_path):
    path = header_only_gguf(tmp_path / "m.gguf")
    seen = look(local(path))
    assert seen.observation.state is FileState.READY
    assert seen.observation.facts.architecture == "llama"
    assert seen.observation.size_bytes == path.stat().st_size
    assert seen.observation.path == str(path)


def test_an_unchanged_file_is_not_read_again(tmp_path):
    path = header_only_gguf(tmp_path / "m.gguf")
    before = look(local(path))
    assert look(local(path), before) is before


def test_a_changed_file_is_read_again(tmp_path):
    path = header_only_gguf(tmp_path / "m.gguf")
    before = look(local(path))
    path.write_bytes(b"not a model at all")
    after = look(local(path), before)
    assert after.observation.state is FileState.FAILED
    assert after.observation.reason.code == "format_invalid"
    header_only_gguf(path)
    os.utime(path, ns=(1, 1))
    assert look(local(path), after).observation.state is FileState.READY


@pytest.mark.parametrize("length", [0, 3, 10, 100, 300])
def test_a_truncated_file_is_refused(tmp_path, length):
    path = header_only_gguf(tmp_path / "m.gguf")
    path.write_bytes(path.read_bytes()[:length])
    seen = look(local(path)).observation
    assert (seen.state, seen.reason.code) == (FileState.FAILED, "format_invalid")
    assert str(path) in seen.reason.message


def directory(folder, **more):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(safetensors_files.llama_config(**more)))
    data, size = safetensors_files.header(safetensors_files.llama())
    (folder / "model.safetensors").write_bytes(data.ljust(size, b"\0"))
    return folder


def test_a_model_directory_is_read(tmp_path):
    folder = directory(tmp_path / "tiny")
    seen = look(local(folder)).observation
    assert (seen.state, seen.path) == (FileState.READY, str(folder))
    assert seen.facts.format == "safetensors"
    assert seen.facts.architecture_class == "LlamaForCausalLM"
    assert seen.facts.name == "tiny"
    assert seen.size_bytes == sum(part.stat().st_size for part in folder.iterdir())


def test_a_hubs_cache_is_called_by_its_repository(tmp_path):
    folder = directory(tmp_path / "models--Qwen--Qwen3-Reranker-0.6B" / "snapshots" / "abc123")
    facts = look(local(folder)).observation.facts
    assert facts.name == "Qwen3-Reranker-0.6B"
    assert facts.categories == (Category.RERANKER,)


def test_a_directory_is_read_again_when_any_of_it_changed(tmp_path):
    folder = directory(tmp_path / "m")
    before = look(local(folder))
    assert look(local(folder), before) is before
    (folder / "chat_template.jinja").write_text("{% if tools %}")
    after = look(local(folder), before)
    assert after.observation.facts.tools
    (folder / "config.json").write_text("{")
    broken = look(local(folder), after).observation
    assert (broken.state, broken.reason.code) == (FileState.FAILED, "format_invalid")
    assert "config.json is not JSON" in broken.reason.message


def test_a_half_copied_directory_says_what_is_missing(tmp_path):
    folder = directory(tmp_path / "m")
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:-1])
    seen = look(local(folder)).observation
    assert (seen.state, seen.reason.code) == (FileState.FAILED, "format_invalid")
    assert f"{len(whole)} bytes, but the file has {len(whole) - 1}" in seen.reason.message
    (folder / "model.safetensors").unlink()
    assert "no weights" in look(local(folder)).observation.reason.message


def test_a_link_into_the_system_is_refused(tmp_path):
    folder = directory(tmp_path / "m")
    (folder / "tokenizer_config.json").symlink_to("/proc/self/environ")
    seen = look(local(folder)).observation
    assert (seen.state, seen.reason.code) == (FileState.FAILED, "path_forbidden")


def test_a_pipe_that_took_a_files_place_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "p.json")
    part = Part(tmp_path / "p.json", 10, 0)
    with pytest.raises(FileNotFoundError):
        model_directory.facts(str(tmp_path), {"config.json": part})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_directory_with_a_file_without_rights(tmp_path):
    folder = directory(tmp_path / "m")
    (folder / "model.safetensors").chmod(0)
    seen = look(local(folder)).observation
    assert (seen.state, seen.reason.code) == (FileState.FAILED, "path_perm")


def test_a_file_that_goes_away_is_missing_and_may_come_back(tmp_path):
    path = header_only_gguf(tmp_path / "m.gguf")
    before = look(local(path))
    path.unlink()
    gone = look(local(path), before)
    assert (gone.observation.state, gone.observation.reason.code) == (
        FileState.MISSING,
        "path_missing",
    )
    assert "w1" in gone.observation.reason.message
    header_only_gguf(path)
    assert look(local(path), gone).observation.state is FileState.READY


@pytest.mark.parametrize(
    ("path", "code"), [("/proc/self/mem", "path_forbidden"), ("x.gguf", "path_forbidden")]
)
def test_forbidden_paths_fail_with_their_reason(path, code):
    seen = look(local(path)).observation
    assert (seen.state, seen.reason.code) == (FileState.FAILED, code)
    assert "?" not in seen.reason.message


def test_a_source_that_is_not_offered_says_so():
    seen = look(ModelRef(SourceName.HUGGINGFACE, repo="a/b")).observation
    assert (seen.state, seen.reason.code) == (FileState.FAILED, "source_unavailable")


class Source:
    name = "local"

    def __init__(self, error):
        self.error = error

    async def fetch(self, model, target_dir, progress):
        raise self.error


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnavailableError("it burns."), "file_failed"),
        (NotFoundError("it is odd.", params={"reason": "made up"}), "file_failed"),
        (PermissionError(13, "no", "/m"), "path_perm"),
        (FileNotFoundError(2, "no", "/m"), "path_missing"),
        (OSError(5, "input/output error", "/m"), "file_failed"),
    ],
)
def test_trouble_becomes_a_reason(error, code):
    seen = look(local("/m"), given={"local": Source(error)}).observation
    assert seen.reason.code == code
    assert "?" not in seen.reason.message
