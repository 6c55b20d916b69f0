"""The documents that the watch brings, by kind and name.

A full listing is collected beside what is there and then swapped in whole, so that no request ever
sees half of one.
"""

from typing import Any

import msgspec

from aimindserve.gateway.table import Documents


class WatchEndedError(Exception):
    """The watch broke off or said what it should not; it is begun again."""


class Message(msgspec.Struct):
    """One message of the watch."""

    type: str
    revision: int = 0
    kind: str = ""
    name: str = ""
    object: dict[str, Any] | None = None


_MESSAGE = msgspec.json.Decoder(Message)


def read_message(data: bytes) -> Message:
    """A message from its JSON. Raises WatchEndedError."""
    try:
        return _MESSAGE.decode(data)
    except msgspec.DecodeError as error:
        raise WatchEndedError(f"the watch sent something else: {error}") from error


class Shelf:
    """Documents at a revision; 0 when nothing can be resumed from."""

    def __init__(self) -> None:
        self.documents: Documents = {}
        self.revision = 0
        self._live: dict[str, dict[str, dict[str, Any]]] = {}
        self._listing: dict[str, dict[str, dict[str, Any]]] | None = None

    def begin_listing(self) -> None:
        """What follows, up to the first bookmark, is everything there is."""
        self._listing = {}

    def put_back(self, documents: Documents) -> None:
        """Start from documents of an earlier run; the next watch lists anew."""
        self.documents = documents
        self.revision = 0

    def apply(self, message: Message) -> bool:
        """Take in one message; True when `documents` changed. Raises WatchEndedError."""
        if message.type == "RESYNC":
            self.revision = 0
            raise WatchEndedError("the control plane asks to list again")
        if message.type == "BOOKMARK":
            return self._bookmark(message.revision)
        listing = self._listing
        into = self._live if listing is None else listing
        if message.type == "DELETED":
            into.get(message.kind, {}).pop(message.name, None)
        elif message.object is not None:
            into.setdefault(message.kind, {})[message.name] = message.object
        if listing is not None:
            return False
        self.revision = max(self.revision, message.revision)
        return True

    def _bookmark(self, revision: int) -> bool:
        listing, self._listing = self._listing, None
        if listing is None:
            self.revision = max(self.revision, revision)
            return False
        self._live = listing
        self.documents = listing
        self.revision = revision
        return True
