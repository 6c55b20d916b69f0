"""One tree, stable codes, two renderers."""

import inspect

import pytest

from aimindserve.core import errors
from aimindserve.core.errors import AimsError, NotFoundError, openai_envelope, problem

CLASSES = [
    kind for kind in vars(errors).values() if inspect.isclass(kind) and issubclass(kind, AimsError)
]


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_each_class_is_drawn_in_the_tree(kind: type[AimsError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")
    if kind not in (AimsError, errors.SettingsError):
        line = next(
            row for row in (errors.__doc__ or "").splitlines() if f" {kind.__name__} " in f"{row} "
        )
        words = line.split()
        assert [kind.code, str(kind.status), kind.retry.value] == words[-3:]


def test_codes_are_unique() -> None:
    codes = [kind.code for kind in CLASSES if kind is not AimsError]
    assert len(codes) == len(set(codes))


def test_problem_is_rfc_9457_with_a_code_and_a_hint() -> None:
    error = NotFoundError("There is no x.", hint="List them.", params={"name": "x"})
    document = problem(error, instance="/api/v1/x", request_id="r1")
    assert document["status"] == 404
    assert document["code"] == "not_found"
    assert document["detail"] == "There is no x."
    assert document["hint"] == "List them."
    assert document["type"].startswith("urn:")
    assert document["request_id"] == "r1"


def test_the_openai_envelope_says_who_spoke() -> None:
    body = openai_envelope(
        NotFoundError("No model x.", params={"param": "model"}), source="gateway"
    )
    assert body["error"]["source"] == "gateway"
    assert body["error"]["param"] == "model"
    assert body["error"]["type"] == "not_found_error"
