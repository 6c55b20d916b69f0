"""What MODEL of a command line means: a reference for the API and a name to deploy it under. Pure.

./qwen.gguf, /models/qwen.gguf      a file, on the workers
hf:repo, hf:repo/file.gguf          Hugging Face (also huggingface:)
ms:repo                             ModelScope   (also modelscope:)
ollama:name:tag                     Ollama's library
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimindserve.cli._words import words
from aimindserve.core.errors import InvalidError

_HUBS = {
    "hf": "huggingface",
    "huggingface": "huggingface",
    "ms": "modelscope",
    "modelscope": "modelscope",
}
_PREFIX = re.compile(r"^([a-z][a-z0-9]{1,11}):(?![\\/])(.+)$")
_QUANTIZATION = re.compile(
    r"[._-](?:ud[._-])?(?:i?q\d[a-z0-9_]*|b?f16|f32|fp16|mxfp4)$", re.IGNORECASE
)
_SHARD = re.compile(r"-\d{5}-of-\d{5}$")
_ENDINGS = (".gguf", ".safetensors")
_FORMATS = ("-gguf", "_gguf")
NAME_MAX = 63


@dataclass(frozen=True, slots=True)
class Meant:
    """A model reference as the API takes it, and the name it suggests."""

    ref: dict[str, Any]
    name: str


def meant(text: str, here: Path) -> Meant:
    """What `text` means to somebody in the directory `here`.

    A local file becomes an absolute path, whether or not it exists on this machine: what counts is
    that a worker has it. Raises InvalidError for what cannot be meant.
    """
    found = _PREFIX.match(text)
    if found is None:
        return _local(text, here)
    scheme, rest = found.groups()
    if scheme in _HUBS:
        return _hub(_HUBS[scheme], rest)
    if scheme == "ollama":
        return Meant({"source": "ollama", "name": rest}, suggested(rest.replace("/", "-")))
    raise InvalidError(
        words("{scheme!r} is no model source.", scheme=scheme),
        hint=words("Write the path of a model file, as the workers have it."),
    )


def suggested(text: str) -> str:
    """A name made of a file's or a repository's: without its ending and its quantization."""
    stem = text
    for ending in _ENDINGS:
        stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
    stem = _QUANTIZATION.sub("", _SHARD.sub("", stem))
    for ending in _FORMATS:
        stem = stem[: -len(ending)] if stem.lower().endswith(ending) else stem
    name = re.sub(r"[^a-z0-9._-]+", "-", stem.lower())[:NAME_MAX].strip("._-")
    return name or "model"


def _local(text: str, here: Path) -> Meant:
    path = Path(text).expanduser()
    looks_like_path = any(sign in text for sign in "/\\") or text.lower().endswith(_ENDINGS)
    exists = (here / path).exists()
    if not looks_like_path and not exists:
        raise InvalidError(
            words("There is no file {text!r} here, and it names no model source.", text=text),
            hint=words("Write the path of a model file, as the workers have it."),
        )
    absolute = text if _is_absolute_anywhere(text) and not exists else str((here / path).resolve())
    return Meant({"source": "local", "path": absolute}, suggested(_last(absolute)))


def _hub(source: str, text: str) -> Meant:
    pieces = text.strip("/").split("/")
    if len(pieces) < 2:
        raise InvalidError(
            words("{text!r} is no repository.", text=text), hint=words("Write it as OWNER/NAME.")
        )
    repo, file = "/".join(pieces[:2]), "/".join(pieces[2:])
    ref = {"source": source, "repo": repo, **({"file": file} if file else {})}
    literal = file and not any(sign in file for sign in "*?[")
    return Meant(ref, suggested(_last(file) if literal else pieces[1]))


def _is_absolute_anywhere(text: str) -> bool:
    """An absolute path on some system: workers need not run the same one as this machine."""
    return text.startswith(("/", "\\\\")) or re.match(r"^[A-Za-z]:[\\/]", text) is not None


def _last(path: str) -> str:
    return re.split(r"[\\/]", path)[-1]
