"""The process in which the embedded llama.cpp runs: `python _llama_cpp_engine.py CONFIG.json`.

A program of its own: it imports nothing of this package, so that it starts fast and keeps running
whatever happens to the agent that started it. The file it reads (mode 0600) holds the engine's key,
which therefore never shows up among process arguments. llama.cpp writes its log to standard error.
"""

import contextlib
import json
import os
import signal
import sys
import threading
from types import FrameType
from typing import Any, cast

EXIT_CONFIG = 2
EXIT_LOAD = 3

# The values a model file may suggest for itself win unless they are marked as the user's.
_SAMPLING_MARKS = {
    "sampling.temp": "TEMP",
    "sampling.top_k": "TOP_K",
    "sampling.top_p": "TOP_P",
    "sampling.min_p": "MIN_P",
    "sampling.xtc_probability": "XTC_PROBABILITY",
    "sampling.xtc_threshold": "XTC_THRESHOLD",
    "sampling.penalty_last_n": "PENALTY_LAST_N",
    "sampling.penalty_repeat": "PENALTY_REPEAT",
    "sampling.mirostat": "MIROSTAT",
    "sampling.mirostat_eta": "MIROSTAT_ETA",
    "sampling.mirostat_tau": "MIROSTAT_TAU",
}


def main(arguments: list[str]) -> int:
    """Run until told to stop; the exit code says what went wrong otherwise."""
    # Run by its path, Python puts this directory first: `base.py` must not be found there.
    here = os.path.dirname(os.path.abspath(__file__))  # noqa: PTH100, PTH120 - no import needed
    sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry) != here]  # noqa: PTH100
    if len(arguments) != 1:
        return _fail(EXIT_CONFIG, "usage: _llama_cpp_engine.py CONFIG.json")
    try:
        with open(arguments[0], encoding="utf-8") as file:  # noqa: PTH123 - no import needed
            config: dict[str, Any] = json.load(file)
    except (OSError, ValueError) as error:
        return _fail(EXIT_CONFIG, f"cannot read the configuration: {error}")
    try:
        import xllamacpp
    except ImportError as error:
        return _fail(EXIT_CONFIG, f"the xllamacpp package cannot be loaded: {error}")
    return _serve(xllamacpp, config)


def _serve(xllamacpp: Any, config: dict[str, Any]) -> int:
    try:
        params = _params(xllamacpp, config)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        return _fail(EXIT_CONFIG, f"the configuration does not fit this engine: {error!r}")
    stop = threading.Event()
    try:
        # Blocks until the model is loaded; until then a termination signal ends it at once.
        server = xllamacpp.Server(params)
    except (RuntimeError, ValueError) as error:
        return _fail(EXIT_LOAD, f"llama.cpp could not load the model: {error}")

    def on_signal(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    _say(f"engine ready on {server.listening_address}")
    # A wait without a limit cannot be interrupted on Windows.
    while not stop.wait(3600.0 if os.name == "posix" else 0.5):
        pass
    _say("engine stopping")
    # Ending llama.cpp's server in order waits for the batch it is computing, which takes minutes on
    # a slow processor. Whoever stops us has let the answers finish; the system frees the rest.
    os._exit(0)


def _params(xllamacpp: Any, config: dict[str, Any]) -> Any:
    params = xllamacpp.CommonParams()
    params.model.path = config["model_path"]
    params.hostnames = [config["host"]]
    params.port = config["port"]
    params.api_keys = [config["api_key"]]
    params.model_alias = [config["alias"]]
    params.offline = True  # weights come from the worker's files, never from the network
    params.fit_params = False  # the scheduler decided; the engine must not decide again
    params.ui = False
    params.endpoint_slots = False  # shows other people's prompts
    params.endpoint_metrics = True
    for key, value in config["fields"].items():
        _set(xllamacpp, params, key, value)
    return params


def _set(xllamacpp: Any, params: Any, key: str, value: Any) -> None:
    if key == "lora_adapters":
        given = cast("list[dict[str, Any]]", value)
        value = [xllamacpp.CommonAdapterLoraInfo(each["path"], each["scale"]) for each in given]
    value = _member(xllamacpp, value)
    if key == "tensor_split":  # as long as the engine's own list, in every build
        shares = [float(share) for share in cast("list[float]", value)]
        value = [*shares, *[0.0] * (len(params.tensor_split) - len(shares))]
    *parents, name = key.split(".")
    target = params
    for parent in parents:
        target = getattr(target, parent)
    if not hasattr(target, name):
        raise AttributeError(f"no parameter {key}")
    setattr(target, name, value)
    mark = _SAMPLING_MARKS.get(key)
    if mark is not None:
        kinds = xllamacpp.common_params_sampling_config
        bit = int(getattr(kinds, f"COMMON_PARAMS_SAMPLING_CONFIG_{mark}"))
        params.sampling.user_sampling_config |= bit


def _member(xllamacpp: Any, value: Any) -> Any:
    """What a name of an enumeration's member stands for, also in a list."""
    if isinstance(value, list):
        return [_member(xllamacpp, each) for each in cast("list[Any]", value)]
    if not isinstance(value, dict) or "enum" not in value:
        return cast("Any", value)
    kind, _, member = cast("dict[str, str]", value)["enum"].partition(".")
    return getattr(getattr(xllamacpp, kind), member)


def _fail(code: int, message: str) -> int:
    _say(f"engine failed: {message}")
    return code


def _say(line: str) -> None:
    """Write a line of the log. A disk that is full must not end an engine that works."""
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
