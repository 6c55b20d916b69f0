"""vox-box: speech to text and text to speech, on one NVIDIA device or on processors.

The engine is not part of this program: a worker reports where it is installed. It knows no keys:
only the loopback address keeps others away from it.
"""

from collections.abc import Iterable, Sequence

from aimindserve.backends._environment import refuse_environment
from aimindserve.backends._installations import installation
from aimindserve.backends._words import Parameter, Vocabulary, choice
from aimindserve.backends.base import Lesser
from aimindserve.core.device import Need
from aimindserve.core.errors import UnsupportedError
from aimindserve.core.facts import Category, ModelFacts, Options
from aimindserve.core.launch import LaunchContext, LaunchSpec, Probe
from aimindserve.core.reason import Reason
from aimindserve.core.shape import ESTIMATED, ROUGH, Requirement, Shape
from aimindserve.formats.vox_box_memory import Voice, device_need, host_need, voice

BACKEND = "vox-box"
START = "import sys; from vox_box.main import main; sys.exit(main())"
"""Its own command lies beside the interpreter under another name on every system."""
_SPEECH = (Category.SPEECH_TO_TEXT, Category.TEXT_TO_SPEECH)
_NO_ARM_NO_WINDOWS = (Voice.COSY_VOICE, Voice.DIA)
_ENV_NAMES = ("MAX_TOKENS", "CFG_SCALE", "CFG_FILTER_TOP_K", "TEMPERATURE", "TOP_P", "CT2_")

VOCABULARY = Vocabulary(
    BACKEND,
    (
        Parameter(("--debug", "-d"), "debug"),
        Parameter(("--device",), "device", choice({"cpu": "cpu", "cuda": "cuda"})),
    ),
    frozenset(
        {
            *("--model", "--host", "--port", "--data-dir"),
            *("--huggingface-repo-id", "--model-scope-model-id"),
        }
    ),
)


class VoxBox:
    """vox-box's OpenAI-compatible audio server."""

    name = BACKEND
    aliases: tuple[str, ...] = ("voxbox",)
    installations: tuple[str, ...] = (BACKEND,)
    starts_across = False
    title = "vox-box: speech to text and text to speech."

    def serves(self, model: ModelFacts, options: Options) -> Reason | None:
        """Refuses models that are not of speech, and Whisper not stored as CTranslate2 does."""
        if not any(category in _SPEECH for category in model.categories):
            return _unfit("it runs models of speech, and this is none")
        other = [each.value for each in options.categories if each not in model.categories]
        if other:
            return _unfit(f"it is no model of the category {other[0]}")
        if model.architecture == "whisper" and model.format != "ctranslate2":
            return _unfit("it reads Whisper as CTranslate2 stores it (faster-whisper)")
        fields = VOCABULARY.read(options.parameters)
        if isinstance(fields, Reason):
            return fields
        return refuse_environment(self.name, options.env, _ENV_NAMES)

    def shapes(self, model: ModelFacts, options: Options) -> Sequence[Shape]:
        """On one device, then on processors."""
        wanted = _fields(options.parameters).get("device")
        family = voice(model)
        confidence = ROUGH if family is Voice.OTHER else ESTIMATED
        found: list[Shape] = []
        if wanted != "cpu":
            device, host = device_need(model)
            rank = Need(devices=(device,), ram=host)
            required = _requirement(family, ("cuda",))
            found.append(Shape("1 device", (rank,), required, confidence=confidence))
        if wanted == "cpu" or (wanted is None and options.cpu_offloading):
            rank = Need(ram=host_need(model))
            found.append(Shape("cpu", (rank,), _requirement(family, ()), confidence=confidence))
        return tuple(found)

    def loads(self, model: ModelFacts, options: Options) -> ModelFacts:  # noqa: ARG002
        """Nothing beside the model."""
        return model.alone()

    def context(self, model: ModelFacts, options: Options) -> int:  # noqa: ARG002
        """Speech has none."""
        return 0

    def lesser(self, model: ModelFacts, options: Options) -> Iterable[Lesser]:  # noqa: ARG002
        """Nothing about it can be made smaller."""
        return ()

    def launch(self, context: LaunchContext) -> LaunchSpec:
        """The server as a process.

        It is given `cuda`, never `cuda:N`: of the latter it would make CUDA_VISIBLE_DEVICES itself
        and take a device of the machine that is not the claimed one.
        """
        options = context.assignment.options
        refused = refuse_environment(self.name, options.env, _ENV_NAMES)
        if refused is not None:
            raise UnsupportedError(refused.message, hint=refused.fix)
        fields = _fields((*context.assignment.placement.parameters, *options.parameters))
        on_device = any(rank.claims for rank in context.assignment.placement.ranks)
        found = installation(context, BACKEND)
        return LaunchSpec(
            argv=(
                *(found.program, "-c", START, "start", "--model", context.model_path),
                *("--host", "127.0.0.1", "--port", str(context.port)),
                *("--data-dir", context.run_dir, "--device", "cuda" if on_device else "cpu"),
                *(("--debug",) if fields.get("debug") else ()),
            ),
            env=(
                ("IS_FASTER_WHISPER", "false"),
                ("HF_HUB_OFFLINE", "1"),
                *options.env,
                *context.exposure.env,
            ),
            cwd=context.run_dir,
            port=context.port,
        )

    def probe(self, context: LaunchContext) -> Probe:  # noqa: ARG002 - the same for all models
        """It listens once the model is loaded. It counts nothing, and what it makes are not tokens:
        how fast it is is not known."""
        return Probe(path="/health")


def _requirement(family: Voice, devices: tuple[str, ...]) -> Requirement:
    """CosyVoice and Dia have no builds for ARM Linux and Windows (the mission's table)."""
    bound = family in _NO_ARM_NO_WINDOWS
    return Requirement(
        os=("linux", "darwin") if bound else ("linux", "darwin", "windows"),
        arch=("amd64",) if bound and devices else ("amd64", "arm64"),
        device_types=devices,
        installation=BACKEND,
    )


def _fields(words: Sequence[str]) -> dict[str, object]:
    fields = VOCABULARY.read(words)
    if isinstance(fields, Reason):
        raise UnsupportedError(fields.message, hint=fields.fix)
    return dict(fields)


def _unfit(detail: str) -> Reason:
    return Reason("backend_unfit", {"backend": BACKEND, "detail": detail})


PLUGIN = VoxBox()
