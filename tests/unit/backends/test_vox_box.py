"""vox-box: which models it takes, how much for, and that it gets the device that was claimed."""

import pytest

from aimindserve.backends._all import choose
from aimindserve.backends.vllm import PLUGIN as VLLM
from aimindserve.backends.vox_box import PLUGIN
from aimindserve.core.facts import Category, ModelFacts, ModelRef, Options, SourceName
from aimindserve.core.launch import Assignment, Exposure, Installation, LaunchContext
from aimindserve.core.placement import Claim, Placement, Rank
from aimindserve.core.reason import Reason
from aimindserve.core.shape import ESTIMATED, ROUGH
from aimindserve.formats.vox_box_memory import Voice, device_need, host_need, voice

MIB, GIB = 1024**2, 1024**3


def whisper(size):
    return ModelFacts(
        "ctranslate2", "whisper", size, categories=(Category.SPEECH_TO_TEXT,), audio=True
    )


def speaker(architecture, size, name=""):
    return ModelFacts(
        "pytorch", architecture, size, name=name, categories=(Category.TEXT_TO_SPEECH,)
    )


@pytest.mark.parametrize(
    ("file_bytes", "published_mib"),
    [
        (3_087_284_237, 4755),
        (3_087_284_237, 4521),
        (1_617_884_929, 2537),
        (1_512_927_867, 2409),
        (1_560_000_000, 3091),  # large-v2 stored as int8
    ],
)
def test_a_whisper_on_a_device_is_never_below_what_is_published(file_bytes, published_mib):
    ours = device_need(whisper(file_bytes))[0].total / MIB
    assert published_mib <= ours <= published_mib * 1.3


def test_a_whisper_on_processors_is_never_below_what_is_published():
    ours = host_need(whisper(483_546_902)).total / MIB
    assert 2257 <= ours <= 2257 * 1.5


@pytest.mark.parametrize(
    ("facts", "family", "device_gib"),
    [
        (speaker("cosyvoice", 2 * GIB), Voice.COSY_VOICE, 3),
        (speaker("", 2 * GIB, "CosyVoice2-0.5B"), Voice.OTHER, 5),
        (speaker("cosyvoice", 5 * GIB), Voice.COSY_VOICE, 6),
        (speaker("dia", 6 * GIB), Voice.DIA, 10),
        (speaker("bark", 5 * GIB), Voice.BARK, 12),
        (speaker("bark", int(1.6 * GIB)), Voice.BARK, 4.2),
        (speaker("vits", GIB, "dialogue-tts"), Voice.OTHER, 3),
    ],
)
def test_speakers_are_known_by_architecture_or_name(facts, family, device_gib):
    assert voice(facts) is family
    device, host = device_need(facts)
    assert device.total / GIB == pytest.approx(device_gib, abs=0.01)
    assert host.total > facts.size_bytes, "PyTorch reads weights into the host's memory first"
    confidence = PLUGIN.shapes(facts, Options())[0].confidence
    assert confidence == (ROUGH if family is Voice.OTHER else ESTIMATED)


def test_it_is_chosen_for_speech_and_leaves_other_whispers_to_vllm():
    assert choose(whisper(GIB), None) is PLUGIN
    other = ModelFacts(
        "safetensors",
        "whisper",
        GIB,
        architecture_class="WhisperForConditionalGeneration",
        categories=(Category.SPEECH_TO_TEXT,),
    )
    assert choose(other, None) is VLLM
    text = ModelFacts("safetensors", "llama", GIB, categories=(Category.LLM,))
    assert isinstance(choose(text, "vox-box"), Reason)


def test_processors_only_when_allowed_or_asked():
    def labels(**options):
        return [shape.label for shape in PLUGIN.shapes(whisper(GIB), Options(**options))]

    assert labels() == ["1 device", "cpu"]
    assert labels(cpu_offloading=False) == ["1 device"]
    assert labels(parameters=("--device=cpu",), cpu_offloading=False) == ["cpu"]
    assert labels(parameters=("--device", "cuda")) == ["1 device"]
    assert PLUGIN.serves(whisper(GIB), Options(parameters=("--device=cuda:1",))) is not None


def test_where_its_models_run():
    cosy, *_ = PLUGIN.shapes(speaker("cosyvoice", GIB), Options())
    assert cosy.requirement.os == ("linux", "darwin")
    assert cosy.requirement.arch == ("amd64",)
    assert cosy.requirement.device_types == ("cuda",)
    ear, *_ = PLUGIN.shapes(whisper(GIB), Options())
    assert "windows" in ear.requirement.os


def test_it_is_given_the_claimed_device_by_exposure_alone():
    shape = PLUGIN.shapes(whisper(GIB), Options())[0]
    rank = Rank("w", (Claim("w:cuda:3", shape.ranks[0].devices[0]),), shape.ranks[0].ram)
    assignment = Assignment(
        "ear-1",
        "id",
        "ear",
        ModelRef(SourceName.LOCAL, path="/m/faster-whisper"),
        "vox-box",
        Options(parameters=("--debug",)),
        Placement("p", shape.label, (rank,), backend="vox-box"),
    )
    exposure = Exposure((("CUDA_VISIBLE_DEVICES", "3"),))
    there = (Installation("vox-box", "0.0.21", "/env/bin/python"),)
    spec = PLUGIN.launch(
        LaunchContext(
            assignment, 0, "/m/faster-whisper", None, 40001, "key", "/run/1", 4, exposure, there
        )
    )
    words = list(spec.argv)
    assert words[0] == "/env/bin/python"
    assert words[words.index("--device") + 1] == "cuda", "cuda:0 would be the machine's first"
    assert dict(spec.env)["IS_FASTER_WHISPER"] == "false", "or it would choose a device itself"
    assert dict(spec.env)["CUDA_VISIBLE_DEVICES"] == "3"
    assert words[words.index("--model") + 1] == "/m/faster-whisper"
    assert words[words.index("--data-dir") + 1] == "/run/1"
    assert "--debug" in words
