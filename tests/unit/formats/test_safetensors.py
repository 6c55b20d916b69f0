"""Headers and indexes: what is read, and that nothing in them is believed."""

import json

import pytest

from aimindserve.core.errors import FormatError
from aimindserve.formats.safetensors import HEADER_BYTES_MAX, read_header, read_index
from unit.formats import safetensors_files as files


def read(tensors, **more):
    data, size = files.header(tensors, **more)
    return read_header(files.reader(data), size)


def test_a_header():
    found = read({"a": ("BF16", (2, 3)), "b": ("F8_E4M3", (4,)), "c": ("F4", (3, 2))})
    assert [(t.name, t.dtype, t.shape, t.offset, t.size_bytes, t.elements) for t in found.tensors] \
        == [("a", "BF16", (2, 3), 0, 12, 6), ("b", "F8_E4M3", (4,), 12, 4, 4),
            ("c", "F4", (3, 2), 16, 3, 6)]  # fmt: skip
    assert found.metadata == {}


def test_metadata_scalars_and_empty_tensors():
    found = read({"s": ("F32", ()), "e": ("F16", (0, 4))}, metadata={"format": "pt"})
    assert found.metadata == {"format": "pt"}
    assert {t.name: t.size_bytes for t in found.tensors} == {"s": 4, "e": 0}


def test_a_header_longer_than_the_first_read():
    tensors = {f"model.layers.{index}.weight": ("F16", (1,)) for index in range(2000)}
    data, size = files.header(tensors)
    asked = []

    def remote(offset, length):
        asked.append((offset, length))
        return data[offset : offset + length]

    assert len(read_header(remote, size).tensors) == 2000
    assert len(asked) == 2
    assert max(offset + length for offset, length in asked) <= len(data) + 2


def broken(change, tensors=None):
    """The error for a header whose JSON was changed."""
    data, size = files.header(tensors or {"a": ("F32", (2,)), "b": ("F32", (3,))})
    values = json.loads(data[8:])
    text = change(values)
    raw = text.encode() if isinstance(text, str) else json.dumps(values).encode()
    size += len(raw) - len(data[8:])
    whole = len(raw).to_bytes(8, "little") + raw
    with pytest.raises(FormatError) as caught:
        read_header(files.reader(whole), size)
    return caught.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda v: v["b"].update(data_offsets=[12, 24]), "ends at 8"),
        (lambda v: v["b"].update(data_offsets=[4, 16]), "ends at 8"),
        (lambda v: v["b"].update(data_offsets=[20, 8]), "no beginning and end"),
        (lambda v: v["b"].update(data_offsets=[8, 20, 30]), "at most 2"),
        (lambda v: v["b"].update(data_offsets=[-8, 4]), "whole numbers"),
        (lambda v: v["b"].update(data_offsets=[8.0, 20.0]), "whole numbers"),
        (lambda v: v["b"].update(shape=[4]), "takes 12 bytes"),
        (lambda v: v["b"].update(shape=[2**40, 2**40]), "larger than any file"),
        (lambda v: v["b"].update(shape=[1] * 40), "at most 16"),
        (lambda v: v["b"].update(shape="3"), "list"),
        (lambda v: v["b"].update(dtype="Q4_0"), "unknown"),
        (lambda v: v["b"].update(dtype=["F32"]), "unknown"),
        (lambda v: v.update(b=7), "unknown"),
        (lambda v: v.update({"x" * 2000: v.pop("b")}), "characters"),
        (lambda v: v.update(__metadata__=[1]), "__metadata__"),
        (lambda v: "[1, 2]", "begin with {"),
        (lambda v: '{"a": NaN}', "NaN"),
        (lambda v: '{"a": {}, "a": {}}', "twice"),
        (lambda v: '{"a": ' + "[" * 100 + "]" * 100 + "}", "deep"),
        (lambda v: '{"a": ' + "9" * 5000 + "}", "digits"),
        (lambda v: '{"a": ', "not JSON"),
        (lambda v: '{"\xff": 1}'.encode("latin-1").decode("latin-1") + "\x00", "not JSON"),
    ],
)
def test_what_is_wrong_is_said(change, words):
    assert words in broken(change)


@pytest.mark.parametrize("length", [0, 1, 7, 8, 9, 60])
def test_a_file_cut_short(length):
    data, size = files.header({"a": ("F32", (2,))})
    for claimed in (length, size):
        with pytest.raises(FormatError, match=r"cut short|no safetensors|bytes"):
            read_header(files.reader(data[:length]), claimed)


def test_the_file_must_be_as_long_as_its_tensors():
    data, size = files.header({"a": ("F32", (2,))})
    with pytest.raises(FormatError, match="cut short"):
        read_header(files.reader(data), size - 1)
    with pytest.raises(FormatError, match="longer than it says"):
        read_header(files.reader(data), size + 1)


def test_a_huge_length_is_refused_before_anything_is_read():
    asked = []

    def remote(offset, length):
        asked.append(length)
        return (HEADER_BYTES_MAX + 1).to_bytes(8, "little") + b"{" * (length - 8)

    with pytest.raises(FormatError, match="33554433"):
        read_header(remote, 2**50)
    assert sum(asked) <= 65_536


def test_an_index():
    found = read_index(
        b'{"metadata": {"total_size": 24.0}, "weight_map": {"a": "m-2.safetensors", '
        b'"b": "m-1.safetensors", "c": "m-2.safetensors"}}'
    )
    assert found.shards == ("m-1.safetensors", "m-2.safetensors")
    assert found.total_bytes == 24


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        {"weight_map": {}},
        {"weight_map": [1]},
        {"weight_map": {"a": 3}},
        {"weight_map": {"a": "../x.safetensors"}},
        {"weight_map": {"a": "/etc/x.safetensors"}},
        {"weight_map": {"a": "x.bin"}},
        {"weight_map": {"a": "x.safetensors\n"}},
    ],
)
def test_a_bad_index_is_refused(value):
    with pytest.raises(FormatError):
        read_index(json.dumps(value).encode())
