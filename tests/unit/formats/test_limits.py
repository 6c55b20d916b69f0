"""What a file made to hurt costs its reader: memory in proportion to what was read, and no more
than a limit in any case."""

import struct
import tracemalloc

import pytest

from aimindserve.core.errors import FormatError
from aimindserve.formats import gguf_header, json_text, safetensors
from aimindserve.formats.gguf import read_facts as read_gguf
from aimindserve.formats.hugging_face import FileAccess, read_facts
from unit.formats import gguf_files
from unit.formats import safetensors_files as files

MIB = 1024**2


class Counted:
    """A file of any claimed size, of which only the beginning is there; counts what is read."""

    def __init__(self, data, size):
        self.data, self.size_bytes, self.given = data, size, 0

    def read(self, offset, length):
        found = self.data[offset : offset + length]
        self.given += len(found)
        return found


def peak(call):
    """(FormatError or None, highest bytes that `call` held)."""
    tracemalloc.start()
    try:
        call()
        raised = None
    except FormatError as error:
        raised = error
    finally:
        _, highest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    return raised, highest


@pytest.mark.parametrize(
    "pairs",
    [
        # counts that no file could hold
        struct.pack("<QQ", 2**63, 1),
        struct.pack("<QQ", 1, 2**63),
        struct.pack("<QQ", 65_537, 0),
        # a text, and arrays, longer than the file
        struct.pack("<QQ", 0, 1) + gguf_files.text("a") + struct.pack("<IQ", 8, 2**62),
        struct.pack("<QQ", 0, 1) + gguf_files.text("a") + struct.pack("<IIQ", 9, 8, 2**62),
        struct.pack("<QQ", 0, 1) + gguf_files.text("a") + struct.pack("<IIQ", 9, 12, 4_000_000),
        # an array of arrays, which would have no end
        struct.pack("<QQ", 0, 1) + gguf_files.text("a") + struct.pack("<IIQ", 9, 9, 1),
    ],
)
def test_counts_in_a_gguf_file_cost_nothing(pairs):
    file = Counted(b"GGUF" + struct.pack("<I", 3) + pairs, 2**50)
    raised, highest = peak(lambda: read_gguf(file.read, file.size_bytes))
    assert raised is not None
    assert highest < 2 * MIB


def test_a_gguf_file_of_arrays_is_read_once_and_not_kept():
    entry = struct.pack("<IIQ", 9, 12, 500_000) + bytes(4_000_000)
    body = b"".join(gguf_files.text(f"k{at}") + entry for at in range(7))
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, 7) + body
    file = Counted(data, len(data))
    raised, highest = peak(lambda: gguf_header.read_header(file.read, file.size_bytes))
    assert raised is None
    assert file.given <= len(data)
    assert highest < 4 * len(data)


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" + b"{}," * 200_000 + b"{}]",
        b"[" + b"[]," * 200_000 + b"[]]",
        b'["' + b'","' * 200_000 + b'"]',
        b'"' * 200_000,
        b'{"a":' + b"9" * 200_000 + b"}",
    ],
    ids=["deep lists", "deep objects", "objects", "lists", "texts", "quotes", "digits"],
)
def test_json_made_to_hurt_is_refused(body, monkeypatch):
    monkeypatch.setattr(json_text, "PIECES_MAX", 100_000)
    raised, highest = peak(lambda: json_text.parse(body, "it"))
    assert raised is not None
    assert highest < 4 * MIB


def test_a_safetensors_header_longer_than_any_is_not_read():
    file = Counted((2**62).to_bytes(8, "little") + b"{", 2**63)
    raised, highest = peak(lambda: safetensors.read_header(file.read, file.size_bytes))
    assert raised is not None
    assert highest < 2 * MIB


def test_tensors_that_lie_on_each_other_or_before_the_file_are_refused():
    for offsets in ([0, 2**60], [-8, 0], [8, 0], [2**63, 2**63 + 8]):
        header = b'{"a":{"dtype":"F32","shape":[2],"data_offsets":%s}}' % str(offsets).encode()
        file = Counted(len(header).to_bytes(8, "little") + header, 8 + len(header) + 8)
        raised, _ = peak(lambda file=file: safetensors.read_header(file.read, file.size_bytes))
        assert raised is not None, offsets


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "modules.json"])
def test_a_file_that_is_too_long_is_not_read_at_all(name):
    file = Counted(b"{}", 2**40)
    made = {**files.directory(), name: FileAccess(file.size_bytes, file.read)}
    with pytest.raises(FormatError, match=r"bytes; .* is the most allowed"):
        read_facts(made)
    assert file.given == 0


def test_configurations_in_each_other_end():
    inner = {"model_type": "llama"}
    for _ in range(60):
        inner = {"text_config": inner, "model_type": "llama"}
    _, highest = peak(lambda: read_facts(files.directory(inner)))
    assert highest < 2 * MIB
