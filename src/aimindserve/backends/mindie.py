"""Ascend MindIE: language models on Ascend NPUs, one worker or several.

The engine is Huawei's and not part of this program: a worker reports where it is installed. It has
no keys: only the loopback address keeps others away from it. It could not be run where this was
written; what is checked is the configuration that it is given.
"""

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._installations import installation
from aimindserve.backends._mindie_config import Serving, changes, configuration, environment
from aimindserve.backends._mindie_parameters import BACKEND, VOCABULARY, contradiction
from aimindserve.backends.base import Lesser
from aimindserve.core.device import Need
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, ModelFacts, Options
from aimindserve.core.launch import Counters, LaunchContext, LaunchSpec, Probe
from aimindserve.core.placement import Claim
from aimindserve.core.reason import Reason
from aimindserve.core.shape import ROUGH, Requirement, Shape
from aimindserve.formats.mindie_memory import (
    GIB,
    NPU_FRACTION,
    RESERVED_BYTES,
    Settings,
    device_needs,
    host_need,
)

ENGINE = Path(__file__).with_name("_mindie_engine.py")
CONFIG_NAME = "config.json"
COUNTERS = Counters(
    tokens="time_per_output_token_seconds_count", seconds="time_per_output_token_seconds_sum"
)
"""As Huawei describes the page (MindIE Service, "服务管控指标查询接口(普罗格式)"): one observation
for each token but an answer's first."""
START_NAME = "start.json"
OVERLAY = "model"
"""Directory of a run in which the model stands with changed files."""
CONTEXT = 8192
CONTEXT_LEAST = 1024
DEVICE_COUNTS = (1, 2, 4, 8, 16)
"""Devices of a worker: powers of two only."""
WORKER_COUNTS = (2, 4, 8)
_ENV_NAMES = ("MINDIE_", "ATB_", "HCCL_", "RESERVED_MEMORY_GB", "TASK_QUEUE_ENABLE", "INF_NAN_")
_REMOTE_CODE = ("--trust-remote-code", "--trust_remote_code")
_CUTS = {
    "tp": "tensor-parallel-size",
    "dp": "data-parallel-size",
    "sp": "sequence-parallel-size",
    "moe_tp": "moe-tensor-parallel-size",
    "moe_ep": "moe-expert-parallel-size",
}


@dataclass(frozen=True, slots=True)
class _Cut:
    """How a model is laid over `world` devices."""

    world: int
    tensor: int
    pipeline: int
    data: int
    expert: int
    expert_tensor: int


class MindIE:
    """MindIE Service."""

    name = BACKEND
    aliases: tuple[str, ...] = ("mindie",)
    installations: tuple[str, ...] = (BACKEND,)
    starts_across = False
    title = "Ascend MindIE: language models on Ascend NPUs."

    def serves(self, model: ModelFacts, options: Options) -> Reason | None:
        """Refuses what is no language model, unknown parameters, and those that exclude each other
        or do not divide the model."""
        if model.format != "safetensors" or Category.LLM not in model.categories:
            return _unfit("it runs language models in safetensors files, and this is none")
        if any(category is not Category.LLM for category in options.categories):
            return _unfit("it serves models of the category llm alone")
        if any(word.partition("=")[0] in _REMOTE_CODE for word in options.parameters):
            return _bad("--trust-remote-code", "code of a model's repository is not run")
        fields = VOCABULARY.read(options.parameters)
        if isinstance(fields, Reason):
            return fields
        found = contradiction(fields)
        if found is not None:
            return _bad(*found)
        if not list(_cuts(model, fields, DEVICE_COUNTS)) and not options.distributed:
            return _bad("the parallel sizes", "no number of devices that they allow divides it")
        context = fields.get("max-seq-len", 0)
        if 0 < model.context_length < context and "rope-scaling" not in fields:
            detail = f"this model takes at most {model.context_length} tokens"
            return _bad(f"--max-seq-len={context}", detail)
        return refuse_environment(self.name, options.env, _ENV_NAMES)

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """On one worker with 1, 2, 4 … devices, then on several workers where that is allowed."""
        fields = _fields(options.parameters)
        found = [
            _shape(model, fields, options, cut, 1) for cut in _cuts(model, fields, DEVICE_COUNTS)
        ]
        if options.distributed:
            found += _across(model, fields, options)
        return tuple(found)

    def loads(self, model: ModelFacts, options: Options) -> ModelFacts:  # noqa: ARG002
        """Nothing beside the model."""
        return model.alone()

    def context(self, model: ModelFacts, options: Options) -> int:
        """`--max-seq-len`, which every placement says."""
        return _context(model, _fields(options.parameters))

    def lesser(self, model: ModelFacts, options: Options) -> Iterable[Lesser]:
        """A shorter context, a smaller batch."""
        fields = _fields(options.parameters)
        context = _context(model, fields)
        shorter = context // 2
        while shorter >= CONTEXT_LEAST:
            word = f"--max-seq-len={shorter}"
            params = {"from": context, "to": shorter, "parameters": word}
            yield Lesser("context", VOCABULARY.replaced(options.parameters, (word,)), params)
            shorter //= 2

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """The daemon, by way of a small program that puts changed files beside the model."""
        assignment = context.assignment
        options = assignment.options
        if len({rank.worker for rank in assignment.placement.ranks}) > 1:
            raise UnsupportedError(
                "MindIE on several workers cannot be started by this version.",
                hint="Switch distributed_inference_across_workers off.",
            )
        refused = refuse_environment(self.name, options.env, _ENV_NAMES)
        if refused is not None:
            raise UnsupportedError(refused.message, hint=refused.fix)
        found = installation(context, BACKEND)
        fields = _fields((*assignment.placement.parameters, *options.parameters))
        changed = changes(fields)
        run = Path(context.run_dir)
        serving = Serving(
            model_name=assignment.deployment,
            model_path=str(run / OVERLAY) if changed else context.model_path,
            port=context.port,
            devices=_devices(context),
            context=int(fields.get("max-seq-len", CONTEXT)),
            cuts=_written_cuts(fields),
        )
        start = {
            "program": found.program,
            "model_path": context.model_path,
            "overlay": str(run / OVERLAY),
            "changes": changed,
        }
        env = environment(found.program, str(run / CONFIG_NAME), fields)
        return LaunchSpec(
            argv=(sys.executable, str(ENGINE), str(run / START_NAME)),
            env=(*{**env, **dict(options.env), **dict(context.exposure.env)}.items(),),
            cwd=context.run_dir,
            files=(
                (CONFIG_NAME, json.dumps(configuration(serving, fields), indent=1)),
                (START_NAME, json.dumps(start, indent=1)),
            ),
            port=context.port,
            stop_grace_s=15.0,
        )

    def probe(self, context: LaunchContext) -> Probe:  # noqa: ARG002 - the same for all models
        """It lists its model once that is loaded. With `--no-metrics` it counts nothing."""
        return Probe(path="/v1/models", counters=COUNTERS)


def _cuts(model: ModelFacts, fields: Mapping[str, Any], counts: Iterable[int]) -> Iterator[_Cut]:
    """How the model can be laid over each number of devices, as far as it divides."""
    for world in counts:
        pipeline = int(fields.get("pipeline-parallel-size", 1))
        data = max(int(fields.get("data-parallel-size", -1)), 1)
        tensor = int(fields.get("tensor-parallel-size", -1))
        if tensor < 0:
            tensor = world // (pipeline * data)
        expert = max(int(fields.get("moe-expert-parallel-size", -1)), 1)
        expert_tensor = int(fields.get("moe-tensor-parallel-size", -1))
        if expert_tensor < 0:
            expert_tensor = world // (pipeline * expert)
        cut = _Cut(world, tensor, pipeline, data, expert, expert_tensor)
        if _divides(model, fields, cut):
            yield cut


def _divides(model: ModelFacts, fields: Mapping[str, Any], cut: _Cut) -> bool:
    """MindIE's conditions: sizes multiply to the world and divide heads, experts, their width."""
    if cut.tensor < 1 or cut.tensor * cut.data * cut.pipeline != cut.world:
        return False
    sequence = int(fields.get("sequence-parallel-size", -1))
    if model.head_count % cut.tensor or (sequence > 1 and sequence != cut.tensor):
        return False
    if not model.expert_count:
        return True
    width = model.expert_feed_forward_length or model.feed_forward_length
    return (
        cut.expert_tensor >= 1
        and cut.expert_tensor * cut.expert * cut.pipeline == cut.world
        and model.expert_count % cut.expert == 0
        and width % cut.expert_tensor == 0
    )


def _shape(
    model: ModelFacts, fields: Mapping[str, Any], options: Options, cut: _Cut, workers: int
) -> Shape:
    settings = _settings(model, fields, options, cut)
    needs = device_needs(model, settings)
    # Data parallel ranks hold the attention weights again: each claims as much as the first.
    needs = (needs * cut.data)[: cut.world]
    each = cut.world // workers
    ranks = tuple(
        Need(devices=needs[at : at + each], ram=host_need(settings, each))
        for at in range(0, cut.world, each)
    )
    devices = "1 device" if cut.world == 1 else f"{cut.world} devices"
    where = f" on {workers} workers" if workers > 1 else ""
    return Shape(
        label=f"{devices}{where}, {settings.context} tokens",
        ranks=ranks,
        requirement=Requirement(
            os=("linux",),
            arch=("amd64", "arm64"),
            device_types=("npu",),
            device_addresses=workers > 1,
            installation=BACKEND,
        ),
        across=workers > 1,
        device_fraction=float(fields.get("npu-memory-fraction", NPU_FRACTION)),
        parameters=_left_open(fields, settings, cut),
        confidence=ROUGH,
    )


def _across(model: ModelFacts, fields: Mapping[str, Any], options: Options) -> list[Shape]:
    """The same number of devices, a power of two, on each of several workers."""
    found: dict[tuple[int, int], Shape] = {}
    for workers in WORKER_COUNTS:
        for cut in _cuts(model, fields, [count * workers for count in DEVICE_COUNTS]):
            found[cut.world, workers] = _shape(model, fields, options, cut, workers)
    return [found[key] for key in sorted(found)]


def _settings(
    model: ModelFacts, fields: Mapping[str, Any], options: Options, cut: _Cut
) -> Settings:
    swap = fields.get("cpu-mem-size", 0) if fields.get("max-preempt-count") else 0
    reserved = dict(options.env).get("RESERVED_MEMORY_GB", "")
    settings = Settings(
        context=_context(model, fields),
        tensor_parallel=cut.tensor,
        pipeline_parallel=cut.pipeline,
        batch=int(fields.get("max-batch-size", 200)),
        block=int(fields.get("cache-block-size", 128)),
        swap_bytes=int(swap) * GIB,
    )
    given = int(reserved) * GIB if reserved.isdecimal() else RESERVED_BYTES
    return replace(settings, reserved_bytes=given)


def _context(model: ModelFacts, fields: Mapping[str, Any]) -> int:
    return int(fields.get("max-seq-len", min(model.context_length or CONTEXT, CONTEXT)))


def _left_open(fields: Mapping[str, Any], settings: Settings, cut: _Cut) -> tuple[str, ...]:
    chosen = {"max-seq-len": settings.context, "tensor-parallel-size": cut.tensor}
    return tuple(
        f"--{name}={value}" for name, value in chosen.items() if fields.get(name, -1) in (-1, None)
    )


def _written_cuts(fields: Mapping[str, Any]) -> dict[str, int]:
    """What goes into ModelConfig: with a pipeline only it and the tensor parallel size."""
    pipeline = int(fields.get("pipeline-parallel-size", 1))
    given = {key: int(fields.get(name, -1)) for key, name in _CUTS.items()}
    if pipeline > 1:
        return {"pp": pipeline, "tp": max(given["tp"], 1)}
    return {key: value for key, value in given.items() if value > 0}


def _devices(context: LaunchContext) -> list[int]:
    """Ids of the claimed devices as the process sees them: from 0 on where only they are visible
    (ASCEND_RT_VISIBLE_DEVICES counts anew), else their own."""
    claims = context.assignment.placement.ranks[context.rank].claims
    if "ASCEND_RT_VISIBLE_DEVICES" in dict(context.exposure.env):
        return list(range(len(claims)))
    return [_index(claim) for claim in claims]


def _index(claim: Claim) -> int:
    last = claim.device.rpartition(":")[2]
    return int(last) if last.isdecimal() else 0


def _fields(words: Sequence[str]) -> Mapping[str, Any]:
    fields = VOCABULARY.read(words)
    if isinstance(fields, Reason):
        raise UnsupportedError(fields.message, hint=fields.fix)
    return fields


def _unfit(detail: str) -> Reason:
    return Reason("backend_unfit", {"backend": BACKEND, "detail": detail})


def _bad(param: str, detail: str) -> Reason:
    return Reason("bad_param", {"backend": BACKEND, "param": param, "detail": detail})


PLUGIN = MindIE()
