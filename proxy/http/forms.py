"""Bodies of multipart/form-data: text fields, and files that lie on disk until they are sent on."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from tempfile import TemporaryFile
from typing import Any

from django.core.exceptions import RequestDataTooBig, SuspiciousOperation
from django.core.files.uploadedfile import UploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http.multipartparser import MultiPartParser, MultiPartParserError

from proxy.errors import APIError
from proxy.http.request import APIRequest


@dataclass(slots=True)
class Form:
    """`fields` and `files` by name, each name as often as it came. To be closed: then the files are gone."""

    fields: list[tuple[str, str]]
    files: "list[tuple[str, UploadedFile[Any]]]"
    kept_bytes: int = 0

    def text(self, name: str) -> str | None:
        """A field that may come once; None where it did not. Raises APIError invalid_value."""
        values = [value for each, value in self.fields if each == name]
        if len(values) > 1:
            raise APIError("invalid_value", param=name, message=f'The "{name}" field may come only once.')
        return values[0] if values else None

    def close(self) -> None:
        APIRequest.buffered_bytes -= self.kept_bytes
        self.kept_bytes = 0
        for _name, file in self.files:
            file.close()


class NamelessFiles(FileUploadHandler):
    """Keeps files where no directory shows them: nothing stays behind, however the process ends."""

    file: "UploadedFile[Any]"

    def new_file(self, *args: Any, **kwargs: Any) -> None:
        super().new_file(*args, **kwargs)
        kept = TemporaryFile()  # noqa: SIM115 - closed with its form
        self.file = UploadedFile(kept, self.file_name, self.content_type, 0, self.charset)

    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        self.file.write(raw_data)

    def file_complete(self, file_size: int) -> "UploadedFile[Any]":
        self.file.seek(0)
        self.file.size = file_size
        return self.file


async def read_form(
    request: APIRequest, may_read: Callable[[int], Awaitable[None]], *, max_bytes: int, files_are: str
) -> Form:
    """Raises what APIRequest.read_body does, and APIError invalid_value for another kind of body.

    `files_are` tells whoever sends another kind how the files are sent.
    """
    content_type = request.header(b"content-type")
    if not content_type.lower().startswith("multipart/form-data"):
        raise _no_form(f"Send the body as multipart/form-data, with {files_are}.")
    with TemporaryFile() as body:
        length = await request.spool_body(body, may_read, max_bytes=max_bytes)
        body.seek(0)
        form = await asyncio.to_thread(parse_form, body, content_type, length)
    form.kept_bytes = length  # on disk, where there is no more room for any number of them than in memory
    APIRequest.buffered_bytes += length
    return form


def parse_form(body: Any, content_type: str, length: int) -> Form:
    kind, _semicolon, parameters = content_type.partition(";")
    meta = {"CONTENT_TYPE": f"{kind.lower()};{parameters}", "CONTENT_LENGTH": str(length)}
    try:
        fields, files = MultiPartParser(meta, body, [NamelessFiles()], "utf-8").parse()
    except RequestDataTooBig:
        raise APIError("request_too_large") from None
    except SuspiciousOperation:
        raise _no_form("The form has too many fields or files.") from None
    except (MultiPartParserError, ValueError) as error:
        raise _no_form(f"The multipart/form-data of the body cannot be read. {error}".strip()) from None
    return Form(
        [(name, value) for name, values in fields.lists() for value in values],
        [(name, file) for name, several in files.lists() for file in several],
    )


def _no_form(message: str) -> APIError:
    return APIError("invalid_value", message=message)
