"""GGUF models as they lie on disks."""

import asyncio

import pytest

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import ModelRef, SourceName
from aimindserve.sources.local import LocalSource
from aimindserve.worker import gguf_model
from unit.formats import gguf_files as files

CLIP = {
    "general.architecture": "clip",
    "clip.has_vision_encoder": True,
    "clip.vision.projection_dim": 64,
}
PATCH = [("v.patch_embd.weight", (14, 14, 3, 32), "F16")]
LORA = {"general.architecture": "llama", "general.type": "adapter", "adapter.type": "lora"}
HALVES = [
    ("blk.0.attn_q.weight.lora_a", (64, 4), "F16"),
    ("blk.0.attn_q.weight.lora_b", (4, 64), "F16"),
]


def model(folder, name="m.gguf", **shape):
    return files.sparse(folder / name, *files.llama(**shape))


def test_all_parts_are_read_and_the_missing_one_is_named(tmp_path):
    metadata, tensors = files.llama(layers=4)
    for index in range(2):
        own = tensors[index::2]
        numbers = {"split.no": index, "split.count": 2}
        name = f"big-0000{index + 1}-of-00002.gguf"
        files.sparse(tmp_path / name, {**metadata, **numbers}, own)
    whole = gguf_model.facts(gguf_model.listing(str(model(tmp_path, layers=4))))
    first = str(tmp_path / "big-00001-of-00002.gguf")
    listing = gguf_model.listing(first)
    assert gguf_model.facts(listing).alone() == whole.alone()
    before = listing.signature
    (tmp_path / "big-00002-of-00002.gguf").unlink()
    with pytest.raises(FormatError, match=r"big-00002-of-00002\.gguf is not beside it"):
        gguf_model.listing(first)
    assert before


def beside(path):
    return {each.file: each.kind.value for each in gguf_model.facts(path).companions}


def test_what_lies_beside_a_model_is_found_if_it_fits(tmp_path):
    path = str(model(tmp_path, embd=64))
    plain = gguf_model.listing(path)
    files.sparse(tmp_path / "mmproj-a.gguf", CLIP, PATCH)
    files.sparse(tmp_path / "mmproj-b.gguf", {**CLIP, "clip.vision.projection_dim": 128}, PATCH)
    files.sparse(tmp_path / "lora.gguf", LORA, HALVES)
    files.sparse(tmp_path / "other.gguf", {**LORA, "general.architecture": "qwen2"}, HALVES)
    model(tmp_path, "small.gguf", embd=32)
    model(tmp_path, "large.gguf", embd=128)
    model(tmp_path, "part-00001-of-00002.gguf", embd=32)
    (tmp_path / "mmproj-c.gguf").write_bytes(b"no such thing")
    (tmp_path / "gone.gguf").symlink_to("nowhere")
    listing = gguf_model.listing(path)
    assert listing.signature != plain.signature
    found = gguf_model.facts(listing)
    assert beside(listing) == {
        "lora.gguf": "adapter", "mmproj-a.gguf": "projector", "small.gguf": "draft"
    }  # fmt: skip
    assert found.vision
    assert not gguf_model.facts(plain).vision
    # A projector is nothing by itself, and has nothing beside it.
    assert gguf_model.listing(str(tmp_path / "mmproj-a.gguf")).beside == ()


def test_a_file_that_is_written_does_not_have_the_others_read_again(tmp_path, monkeypatch):
    path = str(model(tmp_path))
    model(tmp_path, "small.gguf", embd=32)
    gguf_model.facts(gguf_model.listing(path))
    (tmp_path / "growing.gguf").write_bytes(b"GG")
    read = []
    header = gguf_model._header
    monkeypatch.setattr(gguf_model, "_header", lambda paths: read.append(paths) or header(paths))
    gguf_model.facts(gguf_model.listing(path))
    assert [each.name for paths in read for each in paths] == ["m.gguf", "growing.gguf"]


def test_among_many_files_the_smallest_are_looked_into_and_every_projector(tmp_path):
    path = str(model(tmp_path))
    for number in range(gguf_model.COMPANIONS_MAX + 5):
        (tmp_path / f"{number:03}.gguf").write_bytes(b"x" * (number + 1))
    (tmp_path / "mmproj.gguf").write_bytes(b"x" * 1000)
    looked = [file.path.name for file in gguf_model.listing(path).beside]
    assert len(looked) == gguf_model.COMPANIONS_MAX
    assert looked == [*(f"{each:03}.gguf" for each in range(len(looked) - 1)), "mmproj.gguf"]


def test_a_damaged_part_is_named(tmp_path):
    metadata, tensors = files.llama()
    files.sparse(tmp_path / "x-00001-of-00002.gguf", {**metadata, "split.count": 2}, tensors)
    (tmp_path / "x-00002-of-00002.gguf").write_bytes(b"GGUF")
    with pytest.raises(FormatError, match=r"in x-00002-of-00002\.gguf: "):
        gguf_model.facts(gguf_model.listing(str(tmp_path / "x-00001-of-00002.gguf")))


def test_the_links_of_a_hub_s_cache_say_what_files_are_called(tmp_path):
    """Snapshots are links to files that are called by their digest."""
    metadata, tensors = files.llama(layers=2)
    blobs, snapshot = tmp_path / "blobs", tmp_path / "snapshots" / "1"
    blobs.mkdir()
    snapshot.mkdir(parents=True)
    for index in range(2):
        numbers = {"split.no": index, "split.count": 2}
        files.sparse(blobs / f"{index}ab", {**metadata, **numbers}, tensors[index::2])
        name = f"big-0000{index + 1}-of-00002.gguf"
        (snapshot / name).symlink_to(f"../../blobs/{index}ab")
    files.sparse(blobs / "2ab", CLIP, PATCH)
    (snapshot / "mmproj.gguf").symlink_to("../../blobs/2ab")
    path = asyncio.run(LocalSource().fetch(
        ModelRef(SourceName.LOCAL, path=str(snapshot)), "/", None
    ))  # fmt: skip
    listing = gguf_model.listing(path)
    assert len(listing.parts) == 2
    assert beside(listing) == {"mmproj.gguf": "projector"}
