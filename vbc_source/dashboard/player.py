"""Streams archived audio to the page: ranges of a file in a folder or a bucket, read when asked for."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from starlette.responses import Response, StreamingResponse

from vbc_source.audio.bucket import Bucket
from vbc_source.errors import VbcError

MOST_FILES = 256  # whose places are remembered: a load must not interrupt a recording that is being played
# the keys of the archive; nothing else can be read, whatever address a ledger has
_PLACE = re.compile(r"(.+)/(account_id=[^/]+/recording_type=[^/]+/date=[^/]+/[^/]+)")
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})")
_DEFAULT_TYPE = "application/octet-stream"


class AudioNotFound(VbcError):
    """There is no archived audio of a recording."""


@dataclass(frozen=True, slots=True)
class PlayableFile:
    """Where the audio of a recording is; from the ledger `recording_audio`."""

    uri: str
    sha256: str | None
    content_type: str | None


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes `start:stop` of a file; `partial` if they were asked for."""

    start: int
    stop: int
    partial: bool


class Player:
    """Opens archived files. Buckets and the places of files are kept. Thread-safe."""

    def __init__(self) -> None:
        self._buckets: dict[str, Bucket] = {}
        self._files: dict[str, PlayableFile] = {}
        self._lock = threading.Lock()

    def recall(self, recording_key: str) -> PlayableFile | None:
        """Return the place of a file that was played before."""
        return self._files.get(recording_key)

    def remember(self, recording_key: str, file: PlayableFile) -> None:
        """Keep the place of a file."""
        with self._lock:
            if len(self._files) >= MOST_FILES:
                del self._files[next(iter(self._files))]
            self._files[recording_key] = file

    def answer(self, file: PlayableFile, range_header: str | None, *, send_body: bool) -> Response:
        """Return the response with the bytes that were asked for.

        Raises:
            AudioNotFound: The archive does not have the file.
        """
        bucket, key = self._open(file.uri)
        size = bucket.size(key)
        if size is None:
            raise AudioNotFound("The archive does not have this file any more: run vbc verify.")
        headers = {"accept-ranges": "bytes", "etag": f'"{file.sha256}"' if file.sha256 else '""'}
        chosen = read_range(range_header, size)
        if chosen is None:
            return Response(status_code=416, headers={**headers, "content-range": f"bytes */{size}"})
        headers["content-length"] = str(chosen.stop - chosen.start)
        if chosen.partial:
            headers["content-range"] = f"bytes {chosen.start}-{chosen.stop - 1}/{size}"
        status = 206 if chosen.partial else 200
        audio = (file.content_type or "").startswith("audio/")  # never a page that a browser would run
        media_type = file.content_type if audio else _DEFAULT_TYPE
        if not send_body:
            return Response(status_code=status, headers={**headers, "content-type": str(media_type)})
        chunks: Iterator[bytes] = bucket.read_range(key, chosen.start, chosen.stop)
        return StreamingResponse(chunks, status, headers, media_type)

    def _open(self, uri: str) -> tuple[Bucket, str]:
        root, key = _split(uri)
        with self._lock:
            if root not in self._buckets:
                # kept: to open one resolves dlt's configuration
                self._buckets[root] = Bucket(root)
            return self._buckets[root], key


def _split(uri: str) -> tuple[str, str]:
    """Return the address of an archive, and a key in it."""
    place = _PLACE.fullmatch(uri)
    if place is None or ".." in PurePosixPath(uri).parts:
        raise AudioNotFound("The ledger has an address that is not in an archive.")
    return place[1], place[2]


def find_archive(file: PlayableFile) -> str:
    """Return the address of the archive that a file is in."""
    return _split(file.uri)[0]


def name_download(file: PlayableFile) -> str:
    """Return the name of a downloaded file: the recording's id."""
    return re.sub(r"[^A-Za-z0-9._=-]", "_", PurePosixPath(file.uri).name)


def read_range(header: str | None, size: int) -> ByteRange | None:
    """Read the header `Range`; None if it asks for bytes that a file of this size does not have.

    What is not one range of bytes is ignored, as RFC 9110 allows.
    """
    found = _RANGE.fullmatch((header or "").strip())
    # `bytes=-` names no bytes
    if found is None or not any(found.groups()):
        return ByteRange(0, size, partial=False)
    first, last = found.groups()
    if not first:  # the last bytes
        return ByteRange(max(0, size - int(last)), size, partial=True) if int(last) and size else None
    # invalid (RFC 9110, section 14.1.1), and so ignored
    if last and int(last) < int(first):
        return ByteRange(0, size, partial=False)
    stop = min(size, int(last) + 1) if last else size
    return ByteRange(int(first), stop, partial=True) if int(first) < size else None
