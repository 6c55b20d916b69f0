"""Which variables are secrets, and that masks neither show nor lose any."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimindserve.core.secrecy import MASK, is_secret, masked, unmasked

SECRETS = (
    "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "hf_token", "API_TOKENS", "token", "OPENAI_API_KEY",
    "OPENAI_APIKEY", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "apiKey",
    "DB_PASSWORD", "MYSQLPASSWD", "SSH_PASSPHRASE", "GOOGLE_APPLICATION_CREDENTIALS", "MY-SECRET",
    "CLIENTSECRET", "HTTP_AUTH", "AUTHORIZATION", "GITHUB_PAT", "DB_PWD", "SENTRY_DSN",
    "MAX_TOKENS_API_KEY", "SSL.KEY",
)  # fmt: skip
PLAIN = (
    "PATH", "PWD", "HOME", "CUDA_VISIBLE_DEVICES", "TOKENIZERS_PARALLELISM", "MAX_TOKENS",
    "VLLM_MAX_NUM_BATCHED_TOKENS", "MAX_MODEL_TOKENS", "KEYBOARD", "AUTHOR", "PATTERN",
    "OMP_NUM_THREADS", "GPUSTACK_MODEL_VRAM_CLAIM", "NCCL_DEBUG", "GGML_CUDA_FORCE_MMQ",
)  # fmt: skip


@pytest.mark.parametrize("name", SECRETS)
def test_names_of_secrets(name):
    assert is_secret(name)


@pytest.mark.parametrize("name", PLAIN)
def test_names_of_what_anybody_may_see(name):
    assert not is_secret(name, "1")


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        ("http://ada:hunter2@proxy:3128", True),
        ("localhost,postgresql+asyncpg://u:p@db/x", True),
        ("http://proxy:3128", False),
        ("http://ada@proxy:3128", False),
        ("http://proxy:3128/a@b", False),
        ("12:30", False),
    ],
)
def test_addresses_with_a_password(value, secret):
    assert is_secret("HTTPS_PROXY", value) is secret


NAMES = st.sampled_from([*SECRETS, *PLAIN, "HTTPS_PROXY"])
VALUES = st.one_of(st.text(max_size=12), st.just(MASK), st.just("http://u:p@h"))


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text takes seconds
@given(st.dictionaries(NAMES, VALUES))
def test_what_is_read_and_written_back_is_what_was_there(env):
    assert unmasked(masked(env), env) == (env, [])


@given(st.dictionaries(NAMES, VALUES), st.dictionaries(NAMES, VALUES))
def test_a_mask_stands_for_a_stored_secret_or_for_nothing(wanted, stored):
    made, unknown = unmasked(wanted, stored)
    assert set(made) | set(unknown) == set(wanted)
    for name, value in made.items():
        assert value == wanted[name] or (wanted[name] == MASK and value == stored[name])
    for name in unknown:
        assert wanted[name] == MASK
        assert name not in stored or not is_secret(name, stored[name])
