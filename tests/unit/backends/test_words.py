"""Users' parameters are read against an allow-list."""

import pytest

from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._llama_cpp_parameters import MMAP, NO_MMAP, VOCABULARY
from aimindserve.backends.llama_cpp import PLUGIN
from aimindserve.core.facts import Options
from aimindserve.core.reason import Reason
from unit.backends.test_llama_cpp import FACTS


def read(*entries):
    return VOCABULARY.read(entries)


@pytest.mark.parametrize(
    "entries",
    [
        ("--ctx-size=4096",),
        ("--ctx-size", "4096"),
        ("--ctx-size 4096",),
        ("-c", "4096"),
        ("-c 4096",),
        ("--ctx_size=4096",),
        ("  --ctx-size=4096  ",),
    ],
)
def test_every_way_of_writing_a_parameter(entries):
    assert read(*entries) == {"n_ctx": 4096}


def test_several_in_one_entry_and_later_ones_win():
    found = read("--parallel 2 --seed 7", "--parallel=3", "--mmap", "--no-mmap")
    assert found == {"n_parallel": 3, "sampling.seed": 7, "load_mode": NO_MMAP}
    assert read("--mmap") == {"load_mode": MMAP}


def test_values_with_spaces_and_quotes_survive():
    template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert read(f"--chat-template={template}") == {"chat_template": template}
    assert read("--chat-template", template) == {"chat_template": template}
    assert read('--chat-template-kwargs={"a": {"b": 1}, "c": "x y"}') == {
        "default_template_kwargs": {"a": '{"b": 1}', "c": '"x y"'}
    }


def test_negative_numbers_are_values():
    assert read("-ngl", "-1") == {"n_gpu_layers": -1}


def test_choices_become_members_of_the_engine_s_enumerations():
    assert read("-ctk", "q8_0") == {"cache_type_k": {"enum": "ggml_type.GGML_TYPE_Q8_0"}}
    assert read("-fa", "on") == {
        "flash_attn_type": {"enum": "llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_ENABLED"}
    }


@pytest.mark.parametrize(
    ("entries", "says"),
    [
        (("--ctx-sise=1",), "did you mean --ctx-size?"),
        (("--paralel", "2"), "did you mean --parallel?"),
        (("--host", "0.0.0.0"), "it is set by this program"),
        (("--log-file=/etc/passwd",), "it is set by this program"),
        (("--api_key=x",), "it is set by this program"),
        (("-m", "/etc/shadow"), "it is set by this program"),
        (("--lora=/x",), "not accept --lora"),
        (("--override-tensor=x=CPU",), "not accept --override-tensor"),
        (("--ctx-size",), "its value is missing"),
        (("--ctx-size", "--parallel=2"), "its value is missing"),
        (("--ctx-size=many",), "'many' is not a whole number"),
        (("--parallel=0",), "0 is not between 1 and 256"),
        (("--temp=nan",), "is not between"),
        (("-ctk=q3",), "'q3' is none of f32, f16"),
        (("--mmap=yes",), "it takes no value"),
        (("4096",), "a parameter begins with '-'"),
        (("--chat-template-kwargs=[1]",), "it is not a JSON object"),
        (("--chat-template-kwargs={",), "it is not valid JSON"),
        (("--chat-template=" + "x" * 9000,), "longer than 8192"),
    ],
)
def test_what_is_not_allowed_is_refused_with_the_way_out(entries, says):
    reason = read(*entries)
    assert isinstance(reason, Reason)
    assert reason.code == "bad_param"
    assert reason.params["backend"] == "llama.cpp"
    assert says in reason.message


def test_every_field_exists_in_the_engine():
    """A renamed field of xllamacpp would otherwise only be noticed by a user."""
    xllamacpp = pytest.importorskip("xllamacpp")
    params = xllamacpp.CommonParams()
    ours = {"reranking", "lora", "lora_scaled", "model_draft"}  # translated before they get there
    translated = {
        *("embedding", "lora_adapters", "mmproj.path", "mmproj_use_gpu"),
        *("speculative.draft.mparams.path", "speculative.draft.n_gpu_layers", "speculative.types"),
    }
    for key in ({item.key for item in VOCABULARY.parameters} | translated) - ours:
        target = params
        for part in key.split("."):
            assert hasattr(target, part), key
            target = getattr(target, part)


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "PYTHONPATH", "PATH", "CUDA_VISIBLE_DEVICES", "omp_x", "X=Y", ""]
)
def test_variables_that_run_code_or_choose_devices_are_refused(name):
    reason = refuse_environment("llama.cpp", [(name, "1")], ("GGML_",))
    assert reason is not None
    assert reason.code == "bad_param"


def test_harmless_variables_pass():
    env = [("GGML_DEBUG", "1"), ("OMP_NUM_THREADS", "2"), ("TZ", "UTC")]
    assert refuse_environment("llama.cpp", env, ("GGML_",)) is None
    assert refuse_environment("llama.cpp", [("TZ", "x" * 5000)], ()) is not None


@pytest.mark.parametrize("given", [("-c", "4096"), ("-c 4096",), ("--ctx_size=4096",)])
def test_a_parameter_is_replaced_however_it_was_written(given):
    entries = ("--threads 4", *given, "--flash-attn=on")
    replaced = VOCABULARY.replaced(entries, ("--ctx-size=512",))
    assert read(*replaced) == {**read("--threads=4", "--flash-attn=on"), "n_ctx": 512}
    assert "4096" not in " ".join(replaced)


def test_llama_cpp_knows_how_to_take_less():
    options = Options(parameters=("--ctx-size=16384", "--parallel=4", "--threads=2"))
    found = list(PLUGIN.lesser(FACTS, options))
    assert [(each.kind, each.params["to"]) for each in found][:4] == [
        ("slots", 2),
        ("slots", 1),
        ("context", 8192),
        ("context", 4096),
    ]
    before = PLUGIN.shapes(FACTS, options)[-1].ranks[0].ram.total
    for each in found:
        fewer = Options(parameters=each.parameters)
        assert PLUGIN.serves(FACTS, fewer) is None
        assert PLUGIN.shapes(FACTS, fewer)[-1].ranks[0].ram.total < before
        assert "--threads=2" in each.parameters


def test_words_are_spelled_by_their_first_name_and_the_last_one_wins():
    entries = ("-c 1", "--ctx_size=2", "-no-kvu", "-s", "7")
    assert VOCABULARY.spelled(entries) == {
        "n_ctx": ("--ctx-size", "2"),
        "kv_unified": ("--no-kv-unified",),
        "sampling.seed": ("--seed", "7"),
    }
