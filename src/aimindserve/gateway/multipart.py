"""Find one short field in a multipart form while it arrives, reading no further than needed.

Everything that was fed is kept, because it must be sent on unchanged. RFC 7578, RFC 2046.
"""

import re

from aimindserve.core.errors import BodyInvalidError
from aimindserve.kit.units import KIB

_BOUNDARY = re.compile(rb'boundary=(?:"([^"]{1,70})"|([^\s;,"]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'(?:^|[;\s])name=(?:"([^"]*)"|([^\s;]+))', re.IGNORECASE)
HEADERS_BYTES = 8 * KIB
VALUE_BYTES = KIB
PARTS = 200


def boundary_of(content_type: bytes) -> bytes:
    """The boundary of a form. Raises BodyInvalidError when `content_type` is not a form's."""
    kind = content_type.partition(b";")[0].strip().lower()
    found = _BOUNDARY.search(content_type)
    if kind != b"multipart/form-data" or found is None:
        raise BodyInvalidError(
            "The body must be a form: content-type multipart/form-data with a boundary."
        )
    return found.group(1) or found.group(2)


class FieldFinder:
    """Feed it a form; `value` is the field's content as soon as it is known."""

    def __init__(self, boundary: bytes, name: bytes, search_bytes: int) -> None:
        self._delimiter = b"\r\n--" + boundary
        self._name = name
        self._search_bytes = search_bytes
        self._text = bytearray(b"\r\n")  # so that the first delimiter looks like the others
        self._at = 0
        """How far the next delimiter has been looked for."""
        self._part_at = -1
        """Where the part whose headers are being read begins; -1 while looking for a delimiter."""
        self._value_at = 0
        self._wanted = False
        self._parts = 0
        self.value: str | None = None
        self.over = False
        """The last part was seen: what is not known now is not in the form."""

    @property
    def seen(self) -> bytes:
        """Everything that was fed."""
        return bytes(self._text[2:])

    def feed(self, data: bytes) -> None:
        """Read on. Raises BodyInvalidError."""
        self._text += data
        while self.value is None and not self.over and self._step():
            pass
        if self.value is None and len(self._text) > self._search_bytes:
            raise BodyInvalidError(
                f"The form's field 'model' was not within its first {self._search_bytes} bytes.",
                hint="Put the field 'model' before the file.",
            )

    def _step(self) -> bool:
        """Read up to the next delimiter or end of headers; False when more bytes are needed."""
        if self._part_at >= 0:
            return self._end_of_headers()
        found = self._text.find(self._delimiter, self._at)
        reach = found if found >= 0 else len(self._text) - len(self._delimiter)
        if self._wanted and reach - self._value_at > VALUE_BYTES:
            raise BodyInvalidError("The form's field 'model' is too long.")
        if found < 0:
            self._at = max(self._at, reach)
            return False
        self._at = found
        return self._delimiter_at(found)

    def _delimiter_at(self, found: int) -> bool:
        after = found + len(self._delimiter)
        if len(self._text) < after + 2:
            return False
        last = self._text.startswith(b"--", after)
        if not last and not self._text.startswith(b"\r\n", after):
            self._at = found + 1  # only looks like one
            return True
        if self._wanted:
            self.value = bytes(self._text[self._value_at : found]).decode("utf-8", "replace")
            return False
        self.over = last
        self._parts += 1
        if self._parts > PARTS:
            raise BodyInvalidError(f"The form has more than {PARTS} parts.")
        self._part_at = after
        return not last

    def _end_of_headers(self) -> bool:
        found = self._text.find(b"\r\n\r\n", self._part_at)
        if found < 0 or found - self._part_at > HEADERS_BYTES:
            if len(self._text) - self._part_at > HEADERS_BYTES:
                raise BodyInvalidError("A part of the form has too many header fields.")
            return False
        headers = bytes(self._text[self._part_at : found])
        self._part_at, self._value_at = -1, found + 4
        self._wanted = _name_of(headers) == self._name
        # The delimiter after an empty part may share the end of the blank line.
        self._at = self._value_at if self._wanted else found + 2
        return True


def _name_of(headers: bytes) -> bytes:
    for line in headers.split(b"\r\n"):
        key, _, value = line.partition(b":")
        if key.strip().lower() == b"content-disposition":
            found = _NAME.search(value)
            if found is not None:
                return found.group(1) or found.group(2) or b""
    return b""
