"""A body of multipart/form-data (RFC 7578) on its way to an upstream: text fields, and files read as it goes."""

import re
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO

# Nobody whose bytes are sent between two of these can know it.
BOUNDARY = secrets.token_hex(24)
FORM = f"multipart/form-data; boundary={BOUNDARY}"
MEDIA_TYPE = re.compile(r"[\w.+-]{1,64}/[\w.+-]{1,64}", re.ASCII)
PIECE_BYTES = 64 * 1024
ESCAPES = str.maketrans({'"': "%22", "\r": "%0D", "\n": "%0A"})  # as browsers write them
END = f"--{BOUNDARY}--\r\n".encode()


@dataclass(frozen=True, slots=True)
class FormFile:
    """`file` is `length` bytes long; it is read from its beginning, once more for each time that it is sent."""

    name: str
    filename: str
    media_type: str
    file: IO[bytes]
    length: int


class FormBody:
    """What is sent: its length is known before, and nothing larger than a piece is in memory."""

    def __init__(self, fields: Sequence[tuple[str, str]], files: Sequence[FormFile]) -> None:
        self._fields = b"".join(_head(name) + value.encode() + b"\r\n" for name, value in fields)
        self._files = [(_head(one.name, one), one) for one in files]

    def __len__(self) -> int:
        files = sum(len(head) + one.length + 2 for head, one in self._files)
        return len(self._fields) + files + len(END)

    def pieces(self) -> Iterator[bytes]:
        """Raises OSError where a file has become shorter."""
        yield self._fields
        for head, one in self._files:
            yield head
            one.file.seek(0)
            left = one.length
            while left:
                piece = one.file.read(min(PIECE_BYTES, left))
                if not piece:
                    raise OSError("a file that is being sent has become shorter")
                left -= len(piece)
                yield piece
            yield b"\r\n"
        yield END


def _head(name: str, file: FormFile | None = None) -> bytes:
    disposition = f'form-data; name="{name.translate(ESCAPES)}"'
    media_type = ""
    if file is not None:
        disposition += f'; filename="{file.filename.translate(ESCAPES)}"'
        known = MEDIA_TYPE.fullmatch(file.media_type)
        media_type = f"Content-Type: {file.media_type if known else 'application/octet-stream'}\r\n"
    return f"--{BOUNDARY}\r\nContent-Disposition: {disposition}\r\n{media_type}\r\n".encode()
