"""Users' parameters are read against an allow-list."""

import pytest

from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._llama_cpp_parameters import MMAP, NO_MMAP, VOCABULARY
from aimindserve.core.reason import Reason


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
    for item in VOCABULARY.parameters:
        target = params
        for part in item.key.split("."):
            if item.key == "reranking":
                break
            assert hasattr(target, part), item.key
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
