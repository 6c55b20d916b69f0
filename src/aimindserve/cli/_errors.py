"""How a client command that failed says so: what, which code, what to do, which request.

    ✗ There is no deployment called "qwen". (not_found)
      Did you mean qwen3?
      request 01J…

With `-o json` the same as a problem document. Standard output stays empty.
"""

import json
import re
import traceback
from collections.abc import Generator, Mapping, Set
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import click

from aimindserve.cli import _failure
from aimindserve.cli._text import reason_text, say
from aimindserve.cli._words import english, words
from aimindserve.client.errors import (
    CannotScheduleError,
    TargetFailedError,
    UnreachableError,
    WaitError,
    WaitTimeoutError,
    code_of,
)
from aimindserve.core.errors import AimsError, FitError, InternalError, UnauthenticatedError

_HAN = re.compile(r"[\u4e00-\u9fff]")
_CODES: tuple[tuple[type[AimsError], int], ...] = (
    (UnreachableError, _failure.NOT_REACHABLE),
    (CannotScheduleError, _failure.NO_FIT),
    (FitError, _failure.NO_FIT),
    (WaitTimeoutError, _failure.TIMED_OUT),
    (TargetFailedError, _failure.TARGET_FAILED),
)


_CLIENT: Mapping[type[AimsError], tuple[str, Set[str]]] = {
    UnreachableError: ("unreachable", {"server", "detail"}),
    WaitTimeoutError: ("wait_timed_out", {"name", "time", "ready", "wanted"}),
}
"""Errors of the client library, which speaks English alone: (key of their text, what is in it)."""


def exit_code(error: AimsError) -> int:
    """The exit code that tells scripts what kind of failure `error` is."""
    found = next((code for kind, code in _CODES if isinstance(error, kind)), None)
    return _failure.exit_code(error) if found is None else found


@contextmanager
def told(*, as_json: bool, language: str, debug: bool) -> Generator[None]:
    """Turn exceptions of the body into words on standard error and an exit code."""
    try:
        yield
    except AimsError as error:
        if debug:
            traceback.print_exc()
        show(error, as_json=as_json, language=language)
        raise click.exceptions.Exit(exit_code(error)) from error
    except (click.exceptions.Exit, click.ClickException, click.Abort, BrokenPipeError):
        raise
    except Exception as error:
        # Supervision point: a defect of ours ends the command with a sentence, not a traceback.
        if debug:
            raise
        defect = _defect(error)
        show(defect, as_json=as_json, language=language)
        raise click.exceptions.Exit(_failure.FAILED) from error


def show(error: AimsError, *, as_json: bool, language: str) -> None:
    """Tell `error` on standard error: as text for people, or as a problem document."""
    click.echo(as_problem(error) if as_json else as_text(error, language), err=True)


def _defect(error: Exception) -> InternalError:
    """What a person is told of a defect; its details are left in a file."""
    report = Path(click.get_app_dir("aimindserve")) / "last-crash.txt"
    from aimindserve.kit.log import mask_text
    from aimindserve.kit.secrets import write_private

    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    hint = words(
        "The details are in {report}; please report them. --debug shows them here.", report=report
    )
    try:
        write_private(report, mask_text(text))
    except OSError:
        hint = words("Run it again with --debug to see the details, and please report them.")
    what = f"{type(error).__name__}: {error}"
    return InternalError(words("This program has a defect: {what}", what=what), hint=hint)


def as_problem(error: AimsError) -> str:
    """The error as one line of JSON."""
    params = dict(error.params)
    request_id = str(params.pop("request_id", ""))
    document = _failure.local_problem(error, request_id=request_id)
    if isinstance(error, UnreachableError | WaitError):
        del document["status"]  # of this program's own making: no server answered so
    document["code"] = code_of(error)
    document["detail"] = english(error.message)
    if error.hint:
        document["hint"] = english(error.hint)
    if params:
        document["params"] = params
    else:
        document.pop("params", None)
    return json.dumps(document, ensure_ascii=False, default=str)


def as_text(error: AimsError, language: str) -> str:
    """The error for people: a line, and indented below it what helps."""
    message, hint, code = error.message, error.hint, code_of(error)
    reason = error.params.get("reason")
    if isinstance(error, WaitError) and reason:
        message, hint = reason_text(reason, language)
        code = str(reason.get("code") or code)
    key = _CLIENT.get(type(error))
    if key is not None and language == "zh" and key[1] <= error.params.keys():
        message = say(language, key[0], **error.params)
        hint = say(language, f"{key[0]}_hint", **error.params)
    if isinstance(error, UnauthenticatedError):
        hint = f"{hint}\n{say(language, 'sign_in_hint')}".strip()
    hint = "\n".join([*error.params.get("servers", ()), hint])
    lines = [f"✗ {_titled(message, code) if language == 'zh' else message} ({code})"]
    lines += [f"  {line}" for line in hint.splitlines()]
    why = [line for line in error.params.get("why", ()) if not line.endswith(f": {message}")]
    lines += [f"  {line}".rstrip() for line in (*why, *_fields(error))]
    if error.params.get("request_id"):
        lines.append(f"  request {error.params['request_id']}")
    return "\n".join(lines)


def _titled(message: str, code: str) -> str:
    """With its kind in Chinese before it, where the server wrote the sentence in English."""
    from aimindserve.cli._titles_zh import TITLES

    title = TITLES.get(code)
    return message if title is None or _HAN.search(message) else f"{title}：{message}"


def _fields(error: AimsError) -> list[str]:
    """What the server found in each field, when it found more than the message tells."""
    problems: Any = error.params.get("problems")
    if not isinstance(problems, list):
        return []
    rows = cast("list[dict[str, Any]]", problems)
    return [f"{row.get('field')}: {row.get('message')}" for row in rows] if len(rows) > 1 else []
