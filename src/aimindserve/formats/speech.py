"""Models of speech, told by the files that they consist of: what vox-box runs.

CosyVoice has no `config.json`, the first Dia one of its own kind, Bark's files are there twice, and
CTranslate2 (faster-whisper) has a format of its own. Files are told by names, small ones are
parsed, of a CTranslate2 file the first words are read; nothing is loaded or run.
"""

from collections.abc import Mapping, Sequence

from aimindserve.core.errors import FormatError
from aimindserve.core.facts import Category, ModelFacts, WeightParts
from aimindserve.formats.json_text import Keys
from aimindserve.formats.model_directory import Directory, FileAccess

COSY_VOICE = ("cosyvoice.yaml", "cosyvoice2.yaml", "cosyvoice3.yaml")
"""What CosyVoice's own loader looks for (`cosyvoice/cli/cosyvoice.py`)."""
_COSY_VOICE_NEEDS = ("llm.pt", "flow.pt", "hift.pt")
_DIA_FIRST = "dia-v0_1.pth"
_CT2 = "model.bin"
_CT2_SPEC = b"WhisperSpec"
_CT2_HEAD_BYTES = 64
_CT2_WHISPER_KEYS = ("lang_ids", "suppress_ids", "suppress_ids_begin", "alignment_heads")


def without_config(directory: Directory, name: str) -> ModelFacts | None:
    """CosyVoice, or None. Raises FormatError when a part of it is missing."""
    mark = next((mark for mark in COSY_VOICE if mark in directory.files), None)
    if mark is None:
        return None
    for needed in _COSY_VOICE_NEEDS:
        if needed not in directory.files:
            raise FormatError(f"it is a CosyVoice model by its {mark}, and its {needed} is missing")
    parts = [
        file
        for key, file in directory.files.items()
        if key in _COSY_VOICE_NEEDS or (key.endswith(".onnx") and "/" not in key)
    ]
    return _speech("pytorch", "cosyvoice", parts, Category.TEXT_TO_SPEECH, name)


def with_config(directory: Directory, root: Keys, name: str) -> ModelFacts | None:
    """The first Dia, Bark, Whisper as CTranslate2 stores it, or None."""
    files = directory.files
    if _is_first_dia(root):
        return _dia(files, name)
    if root.values.get("model_type") == "bark":
        return _bark(files, name)
    if _CT2 in files and not root.has("architectures", "model_type"):
        return _ctranslate2(files[_CT2], root, name)
    return None


def _is_first_dia(root: Keys) -> bool:
    """`DiaConfig` of nari-labs/dia: sizes of encoder and decoder, delays of sound channels."""
    told = [root.values.get(key) for key in ("model", "data")]
    if root.has("model_type", "architectures") or not all(isinstance(one, dict) for one in told):
        return False
    model, data = root.inner("model"), root.inner("data")
    both = model is not None and model.has("encoder") and model.has("decoder")
    return both and data is not None and data.has("channels", "delay_pattern")


def _dia(files: Mapping[str, FileAccess], name: str) -> ModelFacts:
    """Its weights are there twice: as vox-box loads them, and as safetensors."""
    for form, file in (("pytorch", _DIA_FIRST), ("safetensors", "model.safetensors")):
        if file in files:
            return _speech(form, "dia", [files[file]], Category.TEXT_TO_SPEECH, name)
    raise FormatError(f"it is a Dia model by its config.json, and its {_DIA_FIRST} is missing")


def _bark(files: Mapping[str, FileAccess], name: str) -> ModelFacts:
    """As transformers loads it; beside that lie the three parts of the first release."""
    for form, file in (("safetensors", "model.safetensors"), ("pytorch", "pytorch_model.bin")):
        if file in files:
            return _speech(form, "bark", [files[file]], Category.TEXT_TO_SPEECH, name)
    raise FormatError("it is a Bark model by its config.json, and its pytorch_model.bin is missing")


def _ctranslate2(file: FileAccess, root: Keys, name: str) -> ModelFacts:
    """The name of what it is stands at the start of the file; where that cannot be read,
    config.json has keys that only Whisper has."""
    if file.read is not None:
        head = file.read(0, min(file.size_bytes, _CT2_HEAD_BYTES))
        whisper = _CT2_SPEC in head
    else:
        whisper = root.has(*_CT2_WHISPER_KEYS)
    if not whisper:
        raise FormatError("it holds a CTranslate2 model that is not Whisper")
    return _speech("ctranslate2", "whisper", [file], Category.SPEECH_TO_TEXT, name)


def _speech(
    form: str, architecture: str, files: Sequence[FileAccess], category: Category, name: str
) -> ModelFacts:
    size = sum(file.size_bytes for file in files)
    return ModelFacts(
        format=form,
        architecture=architecture,
        size_bytes=size,
        part_bytes=WeightParts(replicated=size),
        part_bytes_rough=True,
        audio=True,
        name=name[:200],
        categories=(category,),
    )
