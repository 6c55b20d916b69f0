"""Whatever a stranger's files hold, reading them gives facts or a FormatError, soon."""

import json
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import ModelFacts
from aimindserve.formats.hugging_face import FileAccess, read_facts
from unit.formats import safetensors_files as files

GOLDEN = Path(__file__).parents[2] / "golden" / "models"
CONFIGS = [
    json.loads(path.read_text(encoding="utf-8")) for path in sorted(GOLDEN.glob("*/config.json"))
]
KEYS = sorted(
    {key for config in CONFIGS for key in config}
    | {"text_config", "llm_config", "layer_types", "layers_block_type", "num_labels", "id2label"}
    | {"quantization_config", "rope_parameters", "n_positions", "attn_layer_indices", "dtype"}
)
METHODS = [
    "gptq",
    "awq",
    "fp8",
    "bitsandbytes",
    "mxfp4",
    "compressed-tensors",
    "modelopt",
    "torchao",
]
WORDS = ["", "mamba", "attention", "full_attention", "auto", "bfloat16", "yarn", "linear", "llama",
         "gemma3", "qwen2_5_vl", "whisper", "jamba", "M-M*-", *METHODS]  # fmt: skip
NUMBERS = [0, 1, -1, 2, 3, 64, 2**31, 2**63, 2**200, 1e300, 0.5, float("nan"), float("inf")]

scalars = st.one_of(
    st.none(), st.booleans(), st.sampled_from(NUMBERS), st.sampled_from(WORDS), st.integers(),
    st.floats(), st.text(max_size=8),
)  # fmt: skip
inner_keys = st.sampled_from(
    [*KEYS, "quant_method", "bits", "group_size", "factor", "type", "config_groups", "weights",
     "patch_size", "image_size", "depth", "embed_dim", "mlp_ratio", "weight_block_size",
     "modules_to_not_convert", "quant_type", "_type", "default"]
)  # fmt: skip
values = st.recursive(
    scalars,
    lambda inside: st.lists(inside, max_size=4) | st.dictionaries(inner_keys, inside, max_size=4),
    max_leaves=8,
)
changes = st.dictionaries(st.sampled_from(KEYS), values, max_size=6)


def try_to_read(made, name=""):
    try:
        found = read_facts(made, name)
    except FormatError as error:
        found = error
    if isinstance(found, FormatError):
        assert 0 < len(found.message) < 2_000
    else:
        assert isinstance(found, ModelFacts)
        assert found.part_bytes.total == found.size_bytes
        hash(found)


@settings(max_examples=60, deadline=2_000)
@given(config=st.sampled_from(CONFIGS), change=changes, rough=st.booleans())
@example(config=CONFIGS[0], change={"num_hidden_layers": 4096, "hidden_size": 2**24}, rough=True)
def test_changed_configurations(config, change, rough):
    text = json.dumps({**config, **change}).encode()
    weights = FileAccess(10**9) if rough else files.weights(files.llama())
    try_to_read({"config.json": files.text(text), "model.safetensors": weights})


@settings(max_examples=40, deadline=2_000)
@given(
    name=st.sampled_from(
        ["tokenizer_config.json", "generation_config.json", "chat_template.json", "modules.json",
         "1_Pooling/config.json", "sentence_bert_config.json", "hf_quant_config.json",
         "chat_template.jinja", "model.safetensors.index.json", "model_index.json"]
    ),
    value=values,
)  # fmt: skip
def test_odd_files_beside_it(name, value):
    made = files.directory()
    made[name] = files.text(json.dumps(value).encode())
    try_to_read(made, "a/reranker")


@settings(max_examples=40, deadline=2_000)
@given(data=st.data())
def test_damaged_bytes(data):
    made = files.directory(config=data.draw(st.sampled_from(CONFIGS)))
    name = data.draw(st.sampled_from(sorted(made)))
    size = made[name].size_bytes
    raw = bytearray(made[name].read(0, size))
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, min(len(raw), 2_000) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))] if data.draw(st.booleans()) else raw
    made[name] = FileAccess(size, files.reader(bytes(raw)))
    try_to_read(made)


@settings(max_examples=40, deadline=2_000)
@given(
    tensors=st.dictionaries(
        st.text(max_size=20) | st.sampled_from(sorted(files.llama())),
        st.fixed_dictionaries(
            {},
            optional={"dtype": scalars | st.just("BF16"), "shape": values, "data_offsets": values},
        )
        | values,
        max_size=5,
    )
)
def test_made_up_headers(tensors):
    raw = json.dumps(tensors).encode()
    whole = len(raw).to_bytes(8, "little") + raw
    made = files.directory()
    made["model.safetensors"] = FileAccess(len(whole) + 8, files.reader(whole))
    try_to_read(made)


@settings(max_examples=30, deadline=2_000)
@given(raw=st.binary(max_size=200))
def test_noise(raw):
    for name in ("config.json", "model.safetensors", "tokenizer_config.json"):
        try_to_read(files.directory() | {name: files.text(raw)})
