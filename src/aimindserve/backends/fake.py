"""A backend that pretends: a real process with a real HTTP API and no model behind it.

For demonstrations, console work and tests of everything around engines. It serves any model, claims
what it is told to (or what llama.cpp would claim), and fails on demand: see `VOCABULARY`.
"""

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._words import Parameter, Vocabulary, decimal, short_text, whole
from aimindserve.backends.base import Lesser
from aimindserve.core.device import NO_MEMORY, MemoryParts, Need
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, ModelFacts, Options
from aimindserve.core.launch import Counters, LaunchContext, LaunchSpec, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.shape import Layers, Shape
from aimindserve.formats.llama_cpp.memory import need
from aimindserve.formats.llama_cpp.settings import Settings
from aimindserve.kit.units import MIB, parse_bytes

ENGINE = Path(__file__).with_name("_fake_engine.py")
CONFIG_NAME = "engine.json"
COUNTERS = Counters(
    tokens="fake:generated_tokens_total",
    seconds="fake:generation_seconds_total",
    first_too=True,
    answers="fake:answers_total",
)
PROCESS_BYTES = 32 * MIB
ENV_PREFIX = "FAKE_"
"""`FAKE_TOKENS=5` in a deployment's environment is the same as `--tokens=5`."""
_SECONDS = decimal(0.0, 86_400.0)
_COUNT = whole(0, 1_000_000)

VOCABULARY = Vocabulary(
    "fake",
    (
        Parameter(("--ram",), "ram", parse_bytes),
        Parameter(("--vram",), "vram", parse_bytes),
        Parameter(("--devices",), "devices", whole(0, 64)),
        Parameter(("--layers",), "layers", whole(1, 1000)),
        Parameter(("--workers",), "workers", whole(1, 16)),
        Parameter(("--start-delay",), "start_delay_s", _SECONDS),
        Parameter(("--start-stuck",), "start_stuck"),
        Parameter(("--start-exit",), "start_exit", whole(0, 255)),
        Parameter(("--tokens",), "tokens", whole(0, 100_000)),
        Parameter(("--token-delay",), "token_delay_s", _SECONDS),
        Parameter(("--crash-at",), "crash_at", _COUNT),
        Parameter(("--exit-code",), "exit_code", whole(0, 255)),
        Parameter(("--stuck-at",), "stuck_at", _COUNT),
        Parameter(("--unhealthy-at",), "unhealthy_at", _COUNT),
        Parameter(("--die-on",), "die_on", short_text),
        Parameter(("--ignore-stop",), "ignore_stop"),
        Parameter(("--ctx-size", "-c"), "context", whole(0, 16 * 1024**2)),
    ),
)
"""`--layers=40` cuts `--vram` between as many layers over at most `--devices` devices, what does
not fit stays in RAM; `--workers=2` asks for `--devices` with `--vram` each on two workers.
`--crash-at=3` ends the process with `--exit-code` at its third request, `--stuck-at` never
answers from that request on, `--unhealthy-at` fails health checks from there, `--die-on=word` ends
it when a prompt holds the word, `--ignore-stop` makes it survive a polite stop."""


class Fake:
    """Pretends to be an inference engine."""

    name = "fake"
    aliases: tuple[str, ...] = ()
    installations: tuple[str, ...] = ()
    starts_across = True
    title = "Pretends: a real process and API without a model, for trying things out."

    def serves(self, model: ModelFacts, options: Options) -> Reason | None:  # noqa: ARG002 - any model
        """Any model; refuses unknown parameters."""
        fields = VOCABULARY.read(_words(options))
        if isinstance(fields, Reason):
            return fields
        return refuse_environment(self.name, options.env, (ENV_PREFIX,))

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """What `--devices`, `--vram` and `--ram` say; else one device, or processors, as llama.cpp
        would need them."""
        fields = _fields(options)
        if {"devices", "vram", "ram", "layers", "workers"} & fields.keys():
            return _stated(fields, options)
        settings = Settings(context=int(fields.get("context") or 4096))
        cpu = Shape(label="cpu", ranks=(_plain(need(model, settings)),))
        if model.format != "gguf":
            return (cpu,)
        device = Shape(label="1 device", ranks=(need(model, settings, model.layer_count + 1),))
        return (device, cpu) if options.cpu_offloading else (device,)

    def loads(self, model: ModelFacts, options: Options) -> ModelFacts:  # noqa: ARG002
        """Nothing beside the model."""
        return model.alone()

    def context(self, model: ModelFacts, options: Options) -> int:
        """As the memory it claims is for."""
        return int(_fields(options).get("context") or min(model.context_length or 4096, 4096))

    def lesser(self, model: ModelFacts, options: Options) -> Iterable[Lesser]:  # noqa: ARG002
        """It needs what it is told to."""
        return ()

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """A small HTTP server of the standard library."""
        assignment = context.assignment
        config = {
            "host": "127.0.0.1",
            "port": context.port,
            "api_key": context.secret,
            "alias": assignment.deployment,
            "rank": context.rank,
            "categories": [
                category.value
                for category in assignment.options.categories or _categories(context.facts)
            ],
            "fields": dict(_fields(assignment.options)),
        }
        return LaunchSpec(
            argv=(sys.executable, str(ENGINE), str(Path(context.run_dir) / CONFIG_NAME)),
            env=(*assignment.options.env, *context.exposure.env),
            files=((CONFIG_NAME, json.dumps(config, indent=1, sort_keys=True)),),
            port=context.port,
            stop_grace_s=3.0,
        )

    def probe(self, context: LaunchContext) -> Probe:  # noqa: ARG002 - the same for all models
        """503 while it pretends to load."""
        return Probe(path="/health", interval_s=1.0, startup_interval_s=0.1, counters=COUNTERS)


def _words(options: Options) -> tuple[str, ...]:
    given = (
        f"--{name[len(ENV_PREFIX) :].lower().replace('_', '-')}" + (f"={value}" if value else "")
        for name, value in options.env
        if name.startswith(ENV_PREFIX)
    )
    return (*given, *options.parameters)


def _fields(options: Options) -> Mapping[str, Any]:
    fields = VOCABULARY.read(_words(options))
    if isinstance(fields, Reason):
        raise UnsupportedError(fields.message, hint=fields.fix)
    return fields


def _categories(facts: ModelFacts | None) -> tuple[Category, ...]:
    return facts.categories if facts is not None else (Category.LLM,)


def _stated(fields: Mapping[str, Any], options: Options) -> Sequence[Shape]:
    vram = int(fields.get("vram", 0))
    devices = int(fields.get("devices", 1 if vram else 0))
    ram = MemoryParts(weights=int(fields.get("ram", 0)), runtime=PROCESS_BYTES)
    if not devices:
        return (Shape(label="cpu", ranks=(Need(ram=ram),)),)
    if "layers" in fields:
        return _layered(int(fields["layers"]), vram, max(devices, 1), ram, options)
    need = Need(devices=(MemoryParts(weights=max(vram, 1)),) * devices, ram=ram)
    workers = int(fields.get("workers", 1))
    if workers > 1:
        return (Shape(label=f"{workers} workers", ranks=(need,) * workers, across=True),)
    return (Shape(label="1 device" if devices == 1 else f"{devices} devices", ranks=(need,)),)


def _layered(
    count: int, vram: int, devices: int, ram: MemoryParts, options: Options
) -> Sequence[Shape]:
    """All of it on devices; where processors may help, as much of it as possible."""
    layer = MemoryParts(weights=max(vram // (count + 1), 1))
    full = Layers(
        device=(layer,) * (count + 1),
        host=(layer,) * (count + 1),
        least=count + 1,
        devices_max=devices,
    )
    ranks = (Need(ram=ram),)
    shapes = (
        Shape(label="layers on devices", ranks=ranks, layers=full),
        Shape(label="layers in part on devices", ranks=ranks, layers=replace(full, least=1)),
    )
    return shapes if options.cpu_offloading else shapes[:1]


def _plain(wanted: Need) -> Need:
    return wanted if wanted.ram != NO_MEMORY else Need(ram=MemoryParts(runtime=PROCESS_BYTES))


PLUGIN = Fake()
