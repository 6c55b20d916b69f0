"""Compares what is read from configurations with the modules that transformers builds from them:
names, shapes, and what each part adds up to.

Runs in any environment that has torch and transformers (the models are built without memory, on the
meta device; nothing is fetched, no code of a repository is run):

    PYTHONPATH=src:tests PYTHON-WITH-TRANSFORMERS tests/bench/parts_transformers.py [SLUG …]
    PYTHONPATH=src:tests PYTHON-WITH-TRANSFORMERS tests/bench/parts_transformers.py --families

Prints one line per golden model, or with `--families` per family that the table of `formats` knows,
built as its class is by default: parameters by transformers, by config.json alone, and from a
safetensors header with transformers' tensor names; then the parts in which the last two differ.
"""

import json
import logging
import sys
import tempfile
import warnings
from pathlib import Path

from aimindserve.core.facts import WeightParts
from aimindserve.formats.config import read_layout
from aimindserve.formats.config_families import FAMILIES, SAME_AS
from aimindserve.formats.hugging_face import read_facts
from aimindserve.formats.json_text import Keys
from aimindserve.formats.parameters import count_parameters
from golden.models.reading import HERE, SLUGS, published
from unit.formats import safetensors_files as files


def golden(slug):
    """(configuration, architecture, raw config.json) of a golden model."""
    import transformers

    raw = json.loads((HERE / slug / "config.json").read_text(encoding="utf-8"))
    for key in ("auto_map", "quantization_config"):
        raw.pop(key, None)
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "config.json").write_text(json.dumps(raw), encoding="utf-8")
        read = transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
    return read, raw["architectures"][0], raw


def default(kind):
    """The same of a family as transformers builds it by default."""
    from transformers import CONFIG_MAPPING
    from transformers.models.auto import modeling_auto as auto

    name = auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(
        kind
    ) or auto.MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES.get(kind)
    if name is None:
        raise LookupError("transformers has no such language model")
    config = CONFIG_MAPPING[kind]()
    raw = json.loads(json.dumps(config.to_dict(), default=str))
    return config, name, {**raw, "architectures": [name]}


def built(config, name):
    """Names and shapes of the tensors that transformers would save."""
    import torch
    import transformers

    with torch.device("meta"):
        model = getattr(transformers, name)(config)
    tied = set(getattr(model, "all_tied_weights_keys", None) or {})
    drop = tied if getattr(config.get_text_config(), "tie_word_embeddings", False) else set()
    seen, found = set(), {}
    for key, tensor in model.state_dict(keep_vars=True).items():
        if id(tensor) not in seen and key not in drop:
            seen.add(id(tensor))
            found[key] = ("BF16", tuple(tensor.shape))
    return found


def compared(config, name, raw, title):
    """(by transformers, by configuration, by header, parts that differ)."""
    tensors = built(config, name)
    made = {"config.json": files.text(raw), "model.safetensors": files.weights(tensors)}
    facts = read_facts(made, title)
    counts = count_parameters(read_layout(Keys(raw, "config.json"))).parts
    differing = {
        part: (getattr(facts.part_bytes, part) // 2, getattr(counts, part))
        for part in WeightParts.__slots__
        if part != "prediction" and getattr(facts.part_bytes, part) // 2 != getattr(counts, part)
    }
    return facts.size_bytes // 2, counts.total - counts.prediction, facts.parameter_count, differing


def main():
    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    families = sys.argv[1:] == ["--families"]
    for each in sorted({*FAMILIES, *SAME_AS}) if families else sys.argv[1:] or SLUGS:
        try:
            what = default(each) if families else golden(each)
            title = each if families else published(each)["model"]
            transformers, computed, header, differing = compared(*what, title)
        except Exception as error:  # noqa: BLE001 - one model that cannot be built stops no other
            print(f"{each:36} cannot be built: {type(error).__name__}: {str(error)[:120]}")
            continue
        print(f"{each:36} {transformers:>14} {computed:>14} {header:>14}")
        for part, (found, wanted) in differing.items():
            print(f"    {part:16} header {found:>14}  config {wanted:>14}  {found - wanted:+}")


if __name__ == "__main__":
    main()
