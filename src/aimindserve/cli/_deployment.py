"""What describes a deployment on the command line: the same words to make one and to try one."""

from collections.abc import Callable
from typing import Any, TypeVar

import click

from aimindserve.cli._model import Meant
from aimindserve.cli._pairs import pairs

CATEGORIES = ("llm", "embedding", "reranker", "image", "speech_to_text", "text_to_speech")
CONTEXT_FLAGS = {"vllm": "--max-model-len", "sglang": "--context-length"}
CONTEXT_FLAG = "--ctx-size"

F = TypeVar("F", bound=Callable[..., Any])


def deployment_options(function: F) -> F:
    """Add every option that says what a deployment is to be."""
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def spec_of(wanted: Meant, options: dict[str, Any]) -> dict[str, Any]:
    """The deployment's spec with what was given, and nothing that was not: the rest is the server's
    to choose."""
    parameters = [_parameter(text) for text in options["parameters"]]
    if options["ctx"]:
        flag = CONTEXT_FLAGS.get(options["backend"] or "", CONTEXT_FLAG)
        parameters.append(f"{flag}={options['ctx']}")
    gpus = list(options["gpus"])
    given: dict[str, Any] = {
        "model": wanted.ref,
        "replicas": options["replicas"],
        "backend": options["backend"],
        "backend_version": options["backend_version"],
        "backend_parameters": parameters or None,
        "env": pairs("--env", options["env"]) or None,
        "categories": list(options["categories"]) or None,
        "worker_selector": pairs("--selector", options["selector"]) or None,
        "gpu_selector": {"gpu_ids": gpus} if gpus else None,
        "instances_per_worker_max": options["per_worker"],
        "placement_strategy": options["placement"],
        "cpu_offloading": options["cpu_offloading"],
        "distributed_inference_across_workers": options["distributed"],
    }
    return {field: value for field, value in given.items() if value is not None}


def _parameter(text: str) -> str:
    """`threads=4` as `--threads=4`; what begins with a dash stays as it is."""
    if text.startswith("-"):
        return text
    name, _, value = text.partition("=")
    flag = f"--{name}" if len(name) > 1 else f"-{name}"
    return f"{flag}={value}" if value else flag


_OPTIONS = (
    click.option(
        "--replicas", type=click.IntRange(0, 1000), help="How many instances. [default: 1]"
    ),
    click.option("--backend", help="Inference backend; chosen from the model by itself."),
    click.option("--backend-version", help="Version of the backend."),
    click.option(
        "-P",
        "--param",
        "parameters",
        multiple=True,
        metavar="NAME=VALUE",
        help="Parameter of the backend, for example -P threads=4 or -P --flash-attn. Repeatable.",
    ),
    click.option("--ctx", type=click.IntRange(1), metavar="TOKENS", help="Length of the context."),
    click.option("--env", multiple=True, metavar="NAME=VALUE", help="Environment of the engine."),
    click.option(
        "--category",
        "categories",
        multiple=True,
        type=click.Choice(CATEGORIES),
        help="Kind of model. Repeatable.",
    ),
    click.option(
        "--selector", multiple=True, metavar="LABEL=VALUE", help="Only on workers with this label."
    ),
    click.option(
        "--gpu", "gpus", multiple=True, metavar="WORKER:TYPE:INDEX", help="On this device."
    ),
    click.option(
        "--placement", type=click.Choice(("spread", "binpack")), help="How to choose workers."
    ),
    click.option(
        "--per-worker",
        type=click.IntRange(1, 1000),
        help="Most instances of it on one worker; 1 keeps them all apart.",
    ),
    click.option("--cpu-offloading/--no-cpu-offloading", default=None, help="May RAM hold a part?"),
    click.option(
        "--distributed/--no-distributed", default=None, help="May several workers share one?"
    ),
)
