"""Reading a JSON body within limits: size, content type, encoding, nesting.

Handlers read their body themselves, after the guard has let the request in, so that nobody without
the right to do something can make the server parse anything.
"""

from typing import Any, TypeVar, cast

import msgspec
import pydantic
from fastapi import Request

from aimindserve.core.errors import BodyInvalidError, MediaTypeError, TooLargeError
from aimindserve.kit.units import MIB, format_bytes
from aimindserve.server.errors import from_pydantic

WRITE_MAX_BYTES = 1 * MIB
REPORT_MAX_BYTES = 20 * MIB
DEPTH_MAX = 64

JSON = ("application/json",)
PATCH = ("application/merge-patch+json", "application/json")

Model = TypeVar("Model", bound=pydantic.BaseModel)


async def read_bytes(
    request: Request, *, limit: int = WRITE_MAX_BYTES, types: tuple[str, ...] = JSON
) -> bytes:
    """The body; raises MediaTypeError for another content type, TooLargeError beyond `limit`."""
    _check_type(request, types)
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limit:
        raise _too_large(limit)
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise _too_large(limit)
        chunks.append(chunk)
    return b"".join(chunks)


async def read_object(
    request: Request, *, limit: int = WRITE_MAX_BYTES, types: tuple[str, ...] = JSON
) -> dict[str, Any]:
    """The body as a JSON object; raises BodyInvalidError when it is none or too deep."""
    data = await read_bytes(request, limit=limit, types=types)
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise BodyInvalidError(f"The body is not JSON: {error}.") from error
    if not isinstance(value, dict):
        raise BodyInvalidError("The body must be a JSON object.")
    check_depth(value)
    return cast("dict[str, Any]", value)


async def read_model(request: Request, model: type[Model]) -> Model:
    """The body as `model`; raises InvalidError that names the fields."""
    document = await read_object(request)
    try:
        return model.model_validate(document)
    except pydantic.ValidationError as error:
        raise from_pydantic(error) from error


def check_depth(value: Any) -> None:
    """Raise BodyInvalidError when `value` nests deeper than anything of this API does."""
    level: list[Any] = [value]
    for _ in range(DEPTH_MAX):
        level = [child for each in level for child in _children(each)]
        if not level:
            return
    raise BodyInvalidError(f"The body nests deeper than {DEPTH_MAX} levels.")


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [each for each in cast("dict[str, Any]", value).values() if _nests(each)]
    return [each for each in cast("list[Any]", value) if _nests(each)]


def _nests(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _check_type(request: Request, types: tuple[str, ...]) -> None:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise MediaTypeError(
            f"Bodies with content-encoding {encoding[:40]} are not read.", hint="Send it as it is."
        )
    told = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if told not in types:
        raise MediaTypeError(
            f"The content type is {told[:80] or 'missing'}; this path reads {types[0]}.",
            hint=f"Set the header content-type: {types[0]}.",
        )


def _too_large(limit: int) -> TooLargeError:
    return TooLargeError(
        f"The body is larger than {format_bytes(limit)}.", params={"limit_bytes": limit}
    )
