"""Golden models read by the program, for tests and tools.

To write `<slug>/read.txt` anew after a wanted change:
`PYTHONPATH=src:tests python -m golden.models.reading`.
"""

import json
from dataclasses import fields
from enum import Enum
from pathlib import Path

from aimindserve.core.facts import WeightParts
from aimindserve.formats.config import read_layout
from aimindserve.formats.hugging_face import FileAccess, read_facts
from aimindserve.formats.json_text import Keys, parse_object
from aimindserve.formats.parameters import count_parameters
from aimindserve.formats.quantization import dtype_name, read_quantization, stored_bytes

HERE = Path(__file__).parent
SLUGS = sorted(path.parent.name for path in HERE.glob("*/config.json"))
QUANTIZED = sorted(f"quantized/{path.parent.name}" for path in HERE.glob("quantized/*/config.json"))
"""The same models again as others have quantised them."""


def published(slug):
    return json.loads((HERE / slug / "facts.json").read_text(encoding="utf-8"))


def configuration(slug):
    data = (HERE / slug / "config.json").read_bytes()
    return Keys(parse_object(data, "config.json"), "config.json")


def counts(slug):
    generates = published(slug)["category"] != "embedding"
    return count_parameters(read_layout(configuration(slug)), generates=generates)


def computed(slug):
    """Bytes by part, from the configuration."""
    root = configuration(slug)
    default = "F32" if read_layout(root).rules.encoder else "BF16"
    dtype = dtype_name(root.text("torch_dtype")) or default
    quantization = read_quantization(root.inner("quantization_config"))
    return stored_bytes(counts(slug).parts, quantization, dtype)


def facts(slug):
    """Facts when only the weights' size is known, as of a listing."""
    told = published(slug)
    data = (HERE / slug / "config.json").read_bytes()
    size = told.get("tensor_bytes") or told.get("tensor_bytes_with_prediction_layers")
    size = size or computed(slug).total
    files = {
        "config.json": FileAccess(len(data), lambda offset, n: data[offset : offset + n]),
        "model.safetensors": FileAccess(size),
    }
    return read_facts(files, told["model"])


def written(slug):
    """Facts as text: every field that is there."""
    lines = []
    for field in fields(found := facts(slug)):
        value = getattr(found, field.name)
        if value != field.default:
            lines.append(f"{field.name}: {shown(value)}")
    return "\n".join(lines) + "\n"


def shown(value):
    if isinstance(value, WeightParts):
        parts = {part.name: getattr(value, part.name) for part in fields(value)}
        return ", ".join(f"{name} {count}" for name, count in parts.items() if count)
    if isinstance(value, tuple):
        runs = []
        for entry in value:
            if runs and runs[-1][0] == entry:
                runs[-1][1] += 1
            else:
                runs.append([entry, 1])
        return ", ".join(shown(e) if count == 1 else f"{shown(e)} x{count}" for e, count in runs)
    return str(value.value if isinstance(value, Enum) else value)


if __name__ == "__main__":
    for each in SLUGS + QUANTIZED:
        (HERE / each / "read.txt").write_text(written(each), encoding="utf-8")
