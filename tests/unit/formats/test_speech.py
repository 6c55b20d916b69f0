"""Models of speech, told by their files."""

import struct

import pytest

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category
from aimindserve.formats.hugging_face import FileAccess, read_facts
from aimindserve.formats.vox_box_memory import Voice, device_need, host_need, voice
from unit.formats import safetensors_files as files

GIB = 1024**3
SPOKEN, HEARD = (Category.TEXT_TO_SPEECH,), (Category.SPEECH_TO_TEXT,)


def cosy_voice(mark="cosyvoice.yaml"):
    """As FunAudioLLM/CosyVoice-300M and CosyVoice2-0.5B lie there."""
    return {
        mark: FileAccess(8_000),
        "configuration.json": files.text({"framework": "Pytorch"}),
        "llm.pt": FileAccess(1_242_994_835),
        "flow.pt": FileAccess(419_900_943),
        "hift.pt": FileAccess(81_896_716),
        "campplus.onnx": FileAccess(28_303_423),
        "speech_tokenizer_v1.onnx": FileAccess(522_624_269),
        "CosyVoice-BlankEN/config.json": files.text({"model_type": "qwen2"}),
        "CosyVoice-BlankEN/model.safetensors": FileAccess(988_097_536),
    }


def dia():
    """As nari-labs/Dia-1.6B lies there: its weights twice."""
    sizes = {"n_layer": 12, "n_embd": 1024, "n_hidden": 4096}
    config = {
        "version": "0.1",
        "model": {"encoder": sizes, "decoder": sizes, "src_vocab_size": 256},
        "training": {},
        "data": {"text_length": 1024, "channels": 9, "delay_pattern": [0, 8, 9]},
    }
    return {
        "config.json": files.text(config),
        "dia-v0_1.pth": FileAccess(6_447_537_000),
        "model.safetensors": FileAccess(6_447_466_000),
    }


def bark(size=4_487_000_000):
    """As suno/bark lies there: transformers' file, and the parts of the first release."""
    return {
        "config.json": files.text({"model_type": "bark", "architectures": ["BarkModel"]}),
        "pytorch_model.bin": FileAccess(size),
        "text.pt": FileAccess(2_315_978_434),
        "coarse.pt": FileAccess(1_249_886_986),
        "fine.pt": FileAccess(1_115_398_000),
        "text_2.pt": FileAccess(5_354_000_000),
    }


def head(spec):
    name = spec.encode() + b"\0"
    return struct.pack("<IH", 6, len(name)) + name + struct.pack("<II", 3, 100) + b"\0" * 200


def whisper(data=None, config=None):
    """As faster-whisper's models lie there."""
    told = {"alignment_heads": [[5, 3]], "lang_ids": [50259], "suppress_ids": [1]}
    file = FileAccess(3_087_284_237) if data is None else files.text(data)
    return {
        "config.json": files.text(told if config is None else config),
        "model.bin": file,
        "tokenizer.json": files.text({}),
        "vocabulary.json": files.text(b"[]"),
    }


@pytest.mark.parametrize("mark", ["cosyvoice.yaml", "cosyvoice2.yaml", "cosyvoice3.yaml"])
def test_cosy_voice_by_its_yaml_and_its_three_parts(mark):
    found = read_facts(cosy_voice(mark), "anything")
    assert (found.architecture, found.categories) == ("cosyvoice", SPOKEN)
    parts = 1_242_994_835 + 419_900_943 + 81_896_716 + 28_303_423 + 522_624_269
    assert found.size_bytes == parts
    assert voice(found) is Voice.COSY_VOICE


def test_the_first_dia_by_its_configuration():
    found = read_facts(dia(), "anything")
    assert (found.architecture, found.categories) == ("dia", SPOKEN)
    assert (found.format, found.size_bytes) == ("pytorch", 6_447_537_000)
    later = {key: file for key, file in dia().items() if key != "dia-v0_1.pth"}
    assert read_facts(later).format == "safetensors"


def test_bark_is_counted_once():
    found = read_facts(bark(), "anything")
    assert (found.architecture, found.categories) == ("bark", SPOKEN)
    assert found.size_bytes == 4_487_000_000


def test_whisper_of_ctranslate2_by_the_name_in_its_file():
    for found in (read_facts(whisper()), read_facts(whisper(head("WhisperSpec"), {}))):
        assert (found.format, found.architecture) == ("ctranslate2", "whisper")
        assert found.categories == HEARD
        assert voice(found) is Voice.WHISPER


@pytest.mark.parametrize(
    ("made", "told"),
    [
        ({k: v for k, v in cosy_voice().items() if k != "flow.pt"}, "flow.pt is missing"),
        ({"config.json": dia()["config.json"]}, "dia-v0_1.pth is missing"),
        ({"config.json": bark()["config.json"]}, "pytorch_model.bin is missing"),
        (whisper(head("TransformerSpec")), "not Whisper"),
        (whisper(b""), "not Whisper"),
        (whisper(config={"unk_token": "<unk>"}), "not Whisper"),
    ],
)
def test_what_lacks_a_part_or_is_another_model_says_so(made, told):
    with pytest.raises(FormatError, match=told):
        read_facts(made)


@pytest.mark.parametrize("odd", [{"model": "x", "data": []}, {"model": {}, "data": {}}, {}])
def test_other_configurations_are_not_taken_for_dia(odd):
    plain = files.directory({**files.llama_config(), **odd})
    assert read_facts(plain).architecture == "llama"


@pytest.mark.parametrize(
    ("made", "device_gib", "host_gib", "processors_gib"),
    [
        (cosy_voice(), 3, 7, 6),
        (dia(), 10, 7, 10),
        (bark(), 12, 5.2, 12),
        (bark(1_700_000_000), 4.2, 2.6, 4.2),
    ],
)
def test_the_table_of_what_they_take(made, device_gib, host_gib, processors_gib):
    """GPUStack's numbers, where weights alone are not more."""
    facts = read_facts(made)
    device, host = device_need(facts)
    assert device.total / GIB == pytest.approx(device_gib, rel=0.05)
    assert host.total / GIB == pytest.approx(host_gib, rel=0.05)
    assert host_need(facts).total / GIB == pytest.approx(processors_gib + 1, rel=0.15)
