"""Directories inside a model's: adapters and drafts, and everything that is neither."""

from aimindserve.core.facts import CompanionKind
from aimindserve.formats.hugging_face import FileAccess, read_facts
from unit.formats import safetensors_files as files

LORA = {"peft_type": "LORA", "r": 16, "lora_alpha": 32, "base_model_name_or_path": "/anything"}
HALVES = {
    "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight": ("BF16", (16, 64)),
    "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight": ("BF16", (64, 16)),
}


def facts(**below):
    """Of a small Llama with directories inside: name -> its files."""
    made = files.directory(files.llama_config())
    for folder, inside in below.items():
        made |= {f"{folder}/{name}": file for name, file in inside.items()}
    return read_facts(made)


def adapter(config=None, tensors=None):
    return {
        "adapter_config.json": files.text(LORA if config is None else config),
        "adapter_model.safetensors": files.weights(HALVES if tensors is None else tensors),
    }


def model(**shape):
    return files.directory(files.llama_config(**shape), files.llama(**shape))


def test_an_adapter_says_its_rank_and_size():
    (found,) = facts(tone=adapter()).companions
    assert (found.kind, found.file, found.rank) == (CompanionKind.ADAPTER, "tone", 16)
    assert found.size_bytes == 2 * 2 * 16 * 64


def test_an_adapter_whose_weights_are_pickled_is_known_by_its_file():
    inside = {"adapter_config.json": files.text(LORA), "adapter_model.bin": FileAccess(999)}
    (found,) = facts(tone=inside).companions
    assert found.size_bytes == 999


def test_a_smaller_model_could_draft():
    (found,) = facts(small=model(layers=1)).companions
    assert (found.kind, found.file) == (CompanionKind.DRAFT, "small")
    assert found.facts is not None
    assert found.facts.layer_count == 1
    assert not found.facts.companions


def test_what_makes_no_sense_does_not_keep_the_model_from_being_served():
    found = facts(
        larger=model(layers=4),
        broken={"config.json": files.text(b"{"), "model.safetensors": files.weights({})},
        prefix=adapter({"peft_type": "PREFIX_TUNING", "r": 1}),
        without_rank=adapter({"peft_type": "LORA"}),
        bad_rank=adapter({"peft_type": "LORA", "r": "16"}),
        without_weights={"adapter_config.json": files.text(LORA)},
        torn={**adapter(), "adapter_model.safetensors": files.text(b"\xff" * 40)},
        plain={"README.json": files.text(b"{}")},
    )
    assert found.companions == ()
    assert found.layer_count == 2


def test_only_so_many_are_looked_into():
    found = facts(**{f"a{at:03}": adapter() for at in range(100)})
    assert len(found.companions) == 32
