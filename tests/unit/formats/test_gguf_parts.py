"""Models in several files, and projectors beside them."""

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import CompanionKind
from aimindserve.formats import gguf
from aimindserve.formats.gguf_companions import companion
from unit.formats import gguf_files as files


def header(metadata, tensors):
    data, size = files.header(metadata, tensors)
    return gguf.read_header(files.reader(data), size)


def split(count=3, **changes):
    metadata, tensors = files.llama(layers=4)
    each = -(-len(tensors) // count)
    parts = []
    for index in range(count):
        own = tensors[index * each : (index + 1) * each]
        numbers = {"split.no": index, "split.count": count, "split.tensors.count": len(tensors)}
        parts.append(header({**(metadata if not index else {}), **numbers, **changes}, own))
    return parts


def test_the_names_of_all_parts_follow_from_one():
    name = "big-Q4_K_M-00002-of-00003.gguf"
    assert gguf.part_names(name) == tuple(f"big-Q4_K_M-0000{n}-of-00003.gguf" for n in (1, 2, 3))
    assert gguf.part_names("small.gguf") == ("small.gguf",)


@pytest.mark.parametrize("name", ["x-00000-of-00003.gguf", "x-00004-of-00003.gguf"])
def test_a_part_that_cannot_be_is_refused(name):
    with pytest.raises(FormatError):
        gguf.part_names(name)


def test_facts_are_those_of_all_parts_together():
    whole = gguf.facts(header(*files.llama(layers=4)))
    assert gguf.facts(gguf.joined(split())) == whole


def test_a_part_alone_is_no_model():
    with pytest.raises(FormatError, match="one of 3 parts"):
        gguf.facts(split()[0])


def test_parts_that_do_not_belong_together_are_refused():
    one, two, three = split()
    for wrong in ([one, two], [one, three, two], [one, two, two], [one, two, split(4)[2]]):
        with pytest.raises(FormatError):
            gguf.joined(wrong)


def clip(**changes):
    metadata = {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.has_vision_encoder": True,
        "clip.vision.block_count": 27,
        "clip.vision.embedding_length": 1152,
        "clip.vision.feed_forward_length": 4304,
        "clip.vision.projection_dim": 64,
        "clip.vision.image_size": 896,
        "clip.vision.patch_size": 14,
        "clip.vision.attention.head_count": 16,
        **changes,
    }
    return header(metadata, [("v.patch_embd.weight", (14, 14, 3, 1152), "F16")])


MODEL = gguf.facts(header(*files.llama(embd=64, layers=2)))


def adapter(rank=8, layers=(0, 1), **changes):
    metadata = {
        "general.architecture": "llama",
        "general.type": "adapter",
        "adapter.type": "lora",
        "adapter.lora.alpha": 16.0,
        **changes,
    }
    names = [f"blk.{layer}.attn_q.weight" for layer in layers] + ["output.weight"]
    halves = [
        (f"{name}.lora_{half}", shape, "F16")
        for name in names
        for half, shape in (("a", (64, rank)), ("b", (rank, 64)))
    ]
    return header(metadata, halves)


def test_a_projector_is_priced_and_belongs_to_models_of_its_width():
    found = companion(MODEL, "mmproj-f16.gguf", clip())
    assert (found.kind, found.file) == (CompanionKind.PROJECTOR, "mmproj-f16.gguf")
    assert found.size_bytes == 14 * 14 * 3 * 1152 * 2
    assert found.compute_bytes > 4 * 16 * 4096**2
    with pytest.raises(FormatError, match="makes embeddings of 64"):
        companion(replace(MODEL, embedding_length=128), "mmproj.gguf", clip())


@pytest.mark.parametrize(
    "changes",
    [
        {"clip.has_vision_encoder": False},
        {"clip.vision.image_size": "large"},
        {"clip.vision.block_count": 2**31},
    ],
)
def test_what_is_no_projector_is_refused(changes):
    with pytest.raises(FormatError):
        companion(MODEL, "mmproj.gguf", clip(**changes))


def test_an_adapter_is_counted_layer_by_layer():
    found = companion(MODEL, "a.gguf", adapter())
    each = 2 * 64 * 8 * 2
    assert found.kind is CompanionKind.ADAPTER
    assert found.layer_bytes == (each, each)
    assert found.size_bytes == 3 * each


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"adapter.type": "ia3"}, "of type 'ia3'"),
        ({"general.architecture": "qwen2"}, "made for 'qwen2'"),
        ({"layers": (0, 2)}, "changes layer 2, and the model has 2"),
    ],
)
def test_an_adapter_of_something_else_is_refused(changes, words):
    with pytest.raises(FormatError, match=words):
        companion(MODEL, "a.gguf", adapter(**changes))


def test_a_model_with_the_same_words_could_draft():
    small = files.llama(embd=32, layers=1)
    found = companion(MODEL, "d.gguf", header(*small))
    assert found.kind is CompanionKind.DRAFT
    assert found.facts.layer_count == 1
    assert companion(MODEL, "d.gguf", header(*files.llama(vocab=300, layers=1, embd=32)))
    with pytest.raises(FormatError, match="another vocabulary"):
        companion(MODEL, "d.gguf", header(*files.llama(vocab=500, layers=1, embd=32)))
    with pytest.raises(FormatError, match="larger"):
        companion(MODEL, "d.gguf", header(*files.llama(layers=3)))
    with pytest.raises(FormatError, match="write text"):
        companion(MODEL, "d.gguf", header(*files.llama(layers=1, arch="bert")))


CLIP_BYTES, CLIP_SIZE = files.header(
    {
        "general.architecture": "clip",
        "clip.has_vision_encoder": True,
        "clip.vision.block_count": 27,
        "clip.vision.image_size": 896,
        "clip.vision.patch_size": 14,
        "split.count": 2,
        "split.no": 0,
    },
    [("v.patch_embd.weight", (14, 14, 3, 32), "F16")],
)


@given(st.integers(0, len(CLIP_BYTES) - 1), st.binary(min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_damage_is_a_format_error_and_nothing_else(place, noise):
    damaged = CLIP_BYTES[:place] + noise + CLIP_BYTES[place + len(noise) :]
    with contextlib.suppress(FormatError):
        found = gguf.read_header(files.reader(damaged), CLIP_SIZE)
        with contextlib.suppress(FormatError):
            companion(MODEL, "mmproj.gguf", found)
        gguf.facts(gguf.joined([found, found]))
