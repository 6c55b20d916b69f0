"""Whatever the bytes are: a header, or a FormatError that says what is wrong."""

import contextlib
import struct
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimindserve.core.errors import FormatError
from aimindserve.formats import gguf_header
from aimindserve.formats.ggml_types import TYPES
from aimindserve.formats.gguf import read_facts
from aimindserve.formats.gguf_header import Skipped, read_header
from unit.formats import gguf_files as files


def head(metadata=None, tensors=(), **more):
    return files.header(metadata or {"general.architecture": "llama"}, list(tensors), **more)


def reading(data, size=None):
    return read_header(files.reader(data), len(data) if size is None else size)


def failure(data, size=None):
    with pytest.raises(FormatError) as caught:
        reading(data, size)
    return caught.value.message


def test_metadata_and_tensors_come_out_as_they_went_in():
    metadata = {
        "general.architecture": "llama",
        "a.flag": True,
        "a.count": 7,
        "a.negative": -3,
        "a.share": 0.5,
        "a.list": [1, 2, 3],
        "a.words": ["one", "two"],
    }
    data, size = head(metadata, [("x", (64, 4), "Q4_0"), ("y", (3,), "F32")])
    found = reading(data, size)
    assert found.version == 3
    assert found.metadata["a.count"] == 7
    assert found.metadata["a.negative"] == -3
    assert found.metadata["a.flag"] is True
    assert found.metadata["a.list"] == (1, 2, 3)
    assert found.metadata["a.words"] == Skipped(2)
    assert [(t.name, t.shape, t.size_bytes) for t in found.tensors] == [
        ("x", (64, 4), 144),
        ("y", (3,), 12),
    ]
    assert found.data_offset == len(data)


def test_version_two_reads_the_same():
    data, size = head(tensors=[("x", (32,), "Q8_0")], version=2)
    assert reading(data, size).version == 2


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "cut short: its header needs byte 4, but the file has 0 bytes"),
        (b"PK\x03\x04" + bytes(60), "it begins with 50 4b 03 04"),
        (b"GGUF" + struct.pack("<I", 1) + bytes(60), "GGUF version 1"),
        (b"GGUF" + struct.pack(">I", 3) + bytes(60), "big-endian"),
        (b"GGUF" + struct.pack("<I", 9) + bytes(60), "version 9; versions 2 and 3"),
        (b"GGUF" + struct.pack("<IQQ", 3, 2**60, 0), "1152921504606846976 tensors"),
        (b"GGUF" + struct.pack("<IQQ", 3, 0, 2**60), "metadata entries"),
        (b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63), "a metadata key is"),
    ],
)
def test_what_is_no_gguf_says_so(data, says):
    assert says in failure(data)


def pair(body):
    return b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + files.text("k") + body


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (struct.pack("<I", 77), "has type 77"),
        (struct.pack("<IIQ", 9, 9, 1), "elements of type 9"),
        (struct.pack("<IIQ", 9, 4, 2**62), f"claims {2**62} elements"),
        (struct.pack("<IIQ", 9, 4, 1000), "cut short"),
        (struct.pack("<IIQ", 9, 8, 1000), "cut short"),
        (struct.pack("<IIQQ", 9, 8, 2, 2**63), "cut short"),
        (struct.pack("<IQ", 8, 2**40), "bytes long"),
    ],
)
def test_damaged_metadata_says_what_is_wrong(body, says):
    assert says in failure(pair(body))


@pytest.mark.parametrize(
    ("tensor", "says"),
    [
        (struct.pack("<I", 9), "9 dimensions"),
        (struct.pack("<IQIQ", 1, 32, 31, 0), "type 31, which is unknown"),
        (struct.pack("<IQIQ", 1, 33, 8, 0), "rows of 33 elements, but Q8_0 stores 32"),
        (struct.pack("<IQQIQ", 2, 2**40, 2**40, 0, 0), "larger than any file"),
        (struct.pack("<IQIQ", 1, 32, 0, 7), "not aligned to 32"),
        (struct.pack("<IQIQ", 1, 32, 0, 2**40), "cut short: its tensors need"),
    ],
)
def test_damaged_tensors_say_what_is_wrong(tensor, says):
    data = b"GGUF" + struct.pack("<IQQ", 3, 1, 0) + files.text("t") + tensor + bytes(256)
    assert says in failure(data)


def test_twins_are_refused():
    data, size = head(tensors=[("x", (1,), "F32"), ("x", (1,), "F32")])
    assert "two tensors called 'x'" in failure(data, size)
    twice = b"GGUF" + struct.pack("<IQQ", 3, 0, 2)
    twice += (files.text("k") + struct.pack("<IB", 0, 1)) * 2
    assert "the key 'k' twice" in failure(twice)


def test_an_alignment_that_is_no_power_of_two_is_refused():
    data, size = head({"general.architecture": "x", "general.alignment": 33})
    assert "alignment is 33" in failure(data, size)


def test_a_truncated_file_says_by_how_much():
    data, size = head(tensors=[("x", (1024, 1024), "F16")])
    assert f"need {size} bytes, but the file has {size - 1}" in failure(data, size - 1)


def test_a_reader_that_gives_less_than_it_should_is_caught():
    data, size = head(tensors=[("x", (32,), "F32")])
    with pytest.raises(FormatError, match="were asked for, 0 came"):
        read_header(lambda offset, length: data[:50][offset : offset + length], size)
    in_small_pieces = read_header(lambda offset, length: data[offset : offset + 50], size)
    assert len(in_small_pieces.tensors) == 1


def test_only_the_header_is_read():
    asked = []
    data, size = head(tensors=[("x", (2**20, 2**10), "F32")])

    def read(offset, length):
        asked.append((offset, length))
        return (data + bytes(gguf_header.CHUNK_BYTES))[offset : offset + length]

    read_header(read, size)
    assert sum(length for _, length in asked) <= gguf_header.CHUNK_BYTES


def test_a_large_vocabulary_takes_a_moment():
    words = [f"token{index}" for index in range(60_000)]
    data, size = head({"general.architecture": "llama", "tokenizer.ggml.tokens": words})
    started = time.process_time()
    found = reading(data, size)
    assert found.metadata["tokenizer.ggml.tokens"] == Skipped(60_000)
    assert time.process_time() - started < 1.0


def test_block_sizes_are_those_of_ggml():
    """Bits per weight as llama.cpp's own table of quantisations prints them."""
    bits = {kind.name: kind.block_bytes * 8 / kind.block for kind in TYPES.values()}
    assert bits["Q4_0"] == 4.5
    assert bits["Q8_0"] == 8.5
    assert bits["Q6_K"] == 6.5625
    assert bits["Q4_K"] == 4.5
    assert bits["IQ2_XXS"] == 2.0625
    assert bits["IQ1_M"] == 1.75
    assert bits["TQ1_0"] == 1.6875
    assert bits["MXFP4"] == 4.25


SAMPLE, SAMPLE_SIZE = files.header(*files.llama())


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_flipped_and_cut_files_never_raise_anything_else(data):
    damaged = bytearray(SAMPLE)
    for _ in range(data.draw(st.integers(0, 6))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(damaged)) | st.just(len(damaged)))
    size = data.draw(st.sampled_from((SAMPLE_SIZE, cut, 0, 2**62)))
    with contextlib.suppress(FormatError):
        read_facts(files.reader(bytes(damaged[:cut])), size)


@given(st.binary(max_size=400))
@settings(max_examples=60, deadline=None)
def test_noise_behind_the_magic_never_raises_anything_else(noise):
    for start in (b"", b"GGUF", b"GGUF" + struct.pack("<IQQ", 3, 1, 2)):
        data = start + noise
        with contextlib.suppress(FormatError):
            read_facts(files.reader(data), len(data))
