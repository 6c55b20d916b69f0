import pytest

from aimindserve.worker.environment import NAMES_MAX, VALUE_MAX, refuse


@pytest.mark.parametrize(
    "name",
    [
        "PATH", "path", "HOME", "LD_PRELOAD", "ld_library_path", "DYLD_INSERT_LIBRARIES",
        "PYTHONPATH", "PYTHONSTARTUP", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "no_proxy",
        "NVIDIA_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "AIMS_RUN_TOKEN", "AIMS_MARK",
        "GPUSTACK_TOKEN", "BASH_ENV", "GLIBC_TUNABLES", "SSL_CERT_FILE", "NODE_OPTIONS",
        "", "A B", "A=B", "A\n", "1A", "Ä", "A-B", "A" * 129,
    ],
)  # fmt: skip
def test_what_may_not_be_set(name):
    reason = refuse("bee", [("OMP_NUM_THREADS", "4"), (name, "x")])
    assert reason is not None
    assert reason.code == "bad_param"
    assert reason.params["param"] == name[:128]
    assert "bee" in reason.message


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "VLLM_CPU_KVCACHE_SPACE", "TZ", "LANG", "x"])
def test_what_may_be_set(name):
    assert refuse("bee", [(name, "4")]) is None


def test_values_have_limits():
    assert refuse("bee", [("X", "a\0b")]) is not None
    assert refuse("bee", [("X", "a" * (VALUE_MAX + 1))]) is not None
    assert refuse("bee", [("X", "a" * VALUE_MAX)]) is None
    assert refuse("bee", [(f"X{n}", "") for n in range(NAMES_MAX + 1)]) is not None
