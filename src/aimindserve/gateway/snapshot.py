"""The documents of the last good table in a file: a gateway that starts while the control plane is
away serves what it served before.

The file holds hashes of keys and the keys of workers' proxies: it is private to this user. One that
is damaged or of another format counts as not there.
"""

import hashlib
from pathlib import Path

import msgspec

from aimindserve.gateway.table import Documents
from aimindserve.kit.log import get_logger
from aimindserve.kit.secrets import write_private

log = get_logger("gateway")

FORMAT = 1
MAX_BYTES = 256 * 1024 * 1024


class _File(msgspec.Struct):
    format: int
    sha256: str
    content: msgspec.Raw


class _Content(msgspec.Struct):
    revision: int
    documents: dict[str, dict[str, dict[str, object]]]


def save(path: Path, documents: Documents, revision: int) -> None:
    """Write the documents. Raises OSError."""
    content = msgspec.json.encode({"revision": revision, "documents": documents})
    digest = hashlib.sha256(content).hexdigest()
    file = _File(FORMAT, digest, msgspec.Raw(content))
    write_private(path, msgspec.json.encode(file).decode())


def load(path: Path) -> tuple[dict[str, dict[str, dict[str, object]]], int] | None:
    """(documents, revision) of the file; None when there is none that can be used."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ValueError("larger than any table")
        file = msgspec.json.decode(path.read_bytes(), type=_File)
        if file.format != FORMAT:
            raise ValueError(f"format {file.format}")
        if hashlib.sha256(file.content).hexdigest() != file.sha256:
            raise ValueError("its checksum is wrong")
        content = msgspec.json.decode(file.content, type=_Content)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, msgspec.DecodeError) as error:
        log.warning("table.ignored", path=str(path), error=str(error))
        return None
    return content.documents, content.revision
