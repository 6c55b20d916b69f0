"""What a GGUF file says of recurrent layers: state spaces, gated delta nets, convolutions.

Keys and sizes are those of `n_embd_r` and `n_embd_s` in llama.cpp's `src/llama-hparams.cpp`.
"""

from dataclasses import dataclass

from aimindserve.formats.gguf_keys import Keys


@dataclass(frozen=True, slots=True)
class State:
    """What recurrent layers keep for one sequence (`n_embd_r` and `n_embd_s` of llama.cpp's
    `src/llama-hparams.cpp`), in elements of 4 bytes per layer, and how wide they compute."""

    layers: int = 0
    conv: int = 0
    state: int = 0
    width: int = 0
    """Elements per token alive while the layer runs (`src/models/mamba-base.cpp`,
    `delta-net-base.cpp`): what goes in, its convolution, and what comes out."""

    @classmethod
    def of(cls, keys: Keys, layers: int) -> "State":
        embedding = keys.count("embedding_length")
        heads = keys.count("attention.head_count")
        kernel = keys.count("ssm.conv_kernel")
        kda = keys.count("kda.head_dim")
        if wkv := keys.count("wkv.head_size"):
            shifts = keys.count("token_shift_count", default=2)
            return cls(layers, shifts * embedding, wkv * embedding, 10 * embedding)
        recurrent = _recurrent_layers(keys, layers)
        if kda:
            width = heads * kda
            return cls(recurrent, 3 * max(kernel - 1, 3) * width, kda * width, 10 * width)
        if short := keys.count("shortconv.l_cache"):
            return cls(recurrent, max(short - 1, 0) * embedding, 0, 5 * embedding)
        inner = keys.count("ssm.inner_size")
        if not inner:
            return cls()
        return cls(
            recurrent,
            max(kernel - 1, 0) * _convolved(keys),
            keys.count("ssm.state_size") * inner,
            _scan_width(keys),
        )


def _convolved(keys: Keys) -> int:
    shared = 2 * keys.count("ssm.group_count") * keys.count("ssm.state_size")
    return keys.count("ssm.inner_size") + shared


def _scan_width(keys: Keys) -> int:
    inner = keys.count("ssm.inner_size")
    if not keys.count("ssm.group_count"):
        return 5 * inner  # the first Mamba
    if keys.architecture in DELTA_NETS:
        return inner + 2 * _convolved(keys)
    return 2 * inner + 3 * _convolved(keys) + keys.count("ssm.time_step_rank")


DELTA_NETS = {"qwen3next": 4, "qwen35": 4, "qwen35moe": 4}
"""Every n-th layer attends, the others are gated delta nets, if the file does not say otherwise."""


def _recurrent_layers(keys: Keys, layers: int) -> int:
    """How many; those that attend as well (Falcon-H1) count. Where the file does not say which
    layers they are, all of them: too much rather than too little."""
    if keys.architecture in DELTA_NETS:
        return sum(not attends for attends in attending(keys, layers))
    heads = keys.per_layer("attention.head_count_kv", layers)
    without = sum(1 for count in heads if not count)
    return without if 0 < without < len(heads) else layers


def attending(keys: Keys, layers: int) -> list[bool]:
    """Of gated delta nets: which layers attend."""
    stated = keys.flags("attention.recurrent_layers")
    if stated:
        return [not recurrent for recurrent in stated[:layers]]
    every = keys.count("full_attention_interval") or DELTA_NETS[keys.architecture]
    return [(layer + 1) % every == 0 for layer in range(layers)]
