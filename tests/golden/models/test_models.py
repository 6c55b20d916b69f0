"""What is read from the configurations of well-known models is what they publish."""

import pytest

from golden.models.reading import (
    HERE,
    QUANTIZED,
    SLUGS,
    computed,
    counts,
    facts,
    published,
    written,
)


def within(found, wanted, share):
    return abs(found - wanted) <= share * wanted


def test_there_are_enough_of_them():
    assert len(SLUGS) >= 70
    assert all(published(slug)["source"] for slug in SLUGS)


@pytest.mark.parametrize("slug", SLUGS + QUANTIZED)
def test_the_parameter_count_is_the_published_one(slug):
    told, found = published(slug), counts(slug)
    exact = 0.01 if told.get("parameters_rounded") or slug == "modernbert-base" else 0.0
    if "parameters" in told:
        assert within(found.total, told["parameters"], exact)
    if "parameters_with_prediction_layers" in told:
        assert within(found.parts.total, told["parameters_with_prediction_layers"], exact)


@pytest.mark.parametrize("slug", SLUGS + QUANTIZED)
def test_the_stored_size_is_the_published_one(slug):
    told, made = published(slug), computed(slug)
    twice = made.embedding if "stored_although_tied" in told else 0
    share = 0.01 if "tensor_bytes_rounded" in told else 0.005
    if "tensor_bytes" in told:
        assert within(made.total - made.prediction + twice, told["tensor_bytes"], share)
    if "tensor_bytes_with_prediction_layers" in told:
        assert within(made.total, told["tensor_bytes_with_prediction_layers"], 0.01)


@pytest.mark.parametrize("slug", SLUGS + QUANTIZED)
def test_the_shape_is_the_published_one(slug):
    told, found = published(slug), facts(slug)
    assert not found.unknown_architecture
    assert found.layer_count == told["layers"]
    assert found.embedding_length == told["hidden"]
    assert found.vocabulary_size == told["vocabulary"]
    assert found.tied_embeddings == told["tied_embeddings"]
    assert found.context_length == told.get("context", 0)
    assert found.vision == told.get("vision", False)
    assert [each.value for each in found.categories] == [told["category"]]
    assert found.head_count == told.get("heads", 0)
    if found.latent_length:
        assert found.key_length == found.latent_length + found.rope_length
    elif told.get("heads"):
        assert max(found.head_count_kv) == told["kv_heads"]
        assert found.key_length == told["head_length"]
    assert found.part_bytes.total == found.size_bytes


@pytest.mark.parametrize("slug", SLUGS + QUANTIZED)
def test_the_facts_are_the_ones_written_down(slug):
    assert written(slug) == (HERE / slug / "read.txt").read_text(encoding="utf-8")
