"""GGUF files made on the spot: any header, and sparse files as large as they claim."""

import struct
from pathlib import Path

from aimindserve.formats.ggml_types import BY_NAME, TYPES

ALIGNMENT = 32
IDS = {kind.name: number for number, kind in TYPES.items()}


class Signed(list):
    """Whole numbers to be stored as signed 32-bit ones."""


def text(value):
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def value(item):
    """Type code and bytes of one metadata value."""
    if isinstance(item, bool):
        return 7, struct.pack("<?", item)
    if isinstance(item, int):
        return (4, struct.pack("<I", item)) if item >= 0 else (5, struct.pack("<i", item))
    if isinstance(item, float):
        return 6, struct.pack("<f", item)
    if isinstance(item, str | bytes):
        return 8, text(item)
    if isinstance(item, Signed):
        return 9, struct.pack(f"<IQ{len(item)}i", 5, len(item), *item)
    codes = {value(entry)[0] for entry in item} or {4}
    (code,) = codes
    body = b"".join(value(entry)[1] for entry in item)
    return 9, struct.pack("<IQ", code, len(item)) + body


def header(metadata, tensors, *, version=3):
    """(bytes up to the data, size of the whole file). `tensors`: (name, shape, type)."""
    infos, offset = b"", 0
    for name, shape, kind in tensors:
        elements = 1
        for length in shape:
            elements *= length
        infos += text(name) + struct.pack("<I", len(shape))
        infos += b"".join(struct.pack("<Q", length) for length in shape)
        infos += struct.pack("<IQ", IDS[kind], offset)
        size = BY_NAME[kind.lower()].row_bytes(elements)
        offset += -(-size // ALIGNMENT) * ALIGNMENT
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, item in metadata.items():
        code, body = value(item)
        out += text(key) + struct.pack("<I", code) + body
    out += infos
    out += b"\0" * (-len(out) % ALIGNMENT)
    return out, len(out) + offset


def sparse(path: Path, metadata, tensors) -> Path:
    """A file of its full size that takes no room on disk but its header."""
    head, size = header(metadata, tensors)
    path.write_bytes(head)
    with path.open("r+b") as file:
        file.truncate(size)
    return path


def reader(data: bytes):
    return lambda offset, length: data[offset : offset + length]


def llama(
    *, layers=2, embd=64, ff=128, heads=4, kv=2, vocab=256, kind="Q8_0", arch="llama", extra=None
):
    """(metadata, tensors) of a small Llama."""
    head = embd // heads
    metadata = {
        "general.architecture": arch,
        "general.name": "tiny",
        f"{arch}.context_length": 4096,
        f"{arch}.embedding_length": embd,
        f"{arch}.block_count": layers,
        f"{arch}.feed_forward_length": ff,
        f"{arch}.attention.head_count": heads,
        f"{arch}.attention.head_count_kv": kv,
        f"{arch}.attention.layer_norm_rms_epsilon": 1e-5,
        f"{arch}.rope.dimension_count": head,
        "tokenizer.ggml.tokens": [f"t{index}" for index in range(vocab)],
        **(extra or {}),
    }
    tensors = [("token_embd.weight", (embd, vocab), kind), ("output_norm.weight", (embd,), "F32")]
    for index in range(layers):
        prefix = f"blk.{index}"
        tensors += [
            (f"{prefix}.attn_norm.weight", (embd,), "F32"),
            (f"{prefix}.attn_q.weight", (embd, heads * head), kind),
            (f"{prefix}.attn_k.weight", (embd, kv * head), kind),
            (f"{prefix}.attn_v.weight", (embd, kv * head), kind),
            (f"{prefix}.attn_output.weight", (heads * head, embd), kind),
            (f"{prefix}.ffn_norm.weight", (embd,), "F32"),
            (f"{prefix}.ffn_gate.weight", (embd, ff), kind),
            (f"{prefix}.ffn_up.weight", (embd, ff), kind),
            (f"{prefix}.ffn_down.weight", (ff, embd), kind),
        ]
    return metadata, tensors
