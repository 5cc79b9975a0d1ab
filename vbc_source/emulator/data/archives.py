"""Zip archives of exports, generated while they are sent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from vbc_source.emulator.data.audio import AudioFile, AudioStream

Members = list[tuple[str, bytes]]
MembersHook = Callable[[Members], Iterable[tuple["str | ZipInfo", bytes]]]
"""Receives names and contents of an archive, and returns those to send instead.

A `ZipInfo` in place of a name decides how its member is compressed and what its header states.
"""

_FIRST_ZIP_TIME = time.gmtime(315_532_800)  # 1980: zip cannot store earlier dates


# neither `seek` nor `tell`: ZipFile then writes sizes and checksums behind each member, as a server does that
# does not know them before
class _Buffer:
    """File object that returns what was written since the last call of `take`."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Do nothing; ZipFile requires the method."""

    def close(self) -> None:
        """Do nothing; ZipFile requires the method."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


@dataclass(frozen=True, slots=True)
class ZipStream:
    """A zip archive that is never in memory as a whole, unless a hook returned its contents.

    Attributes:
        members: Header and content of each member.
        size: Bytes.
    """

    media_type: ClassVar[str] = "application/zip"

    members: tuple[tuple[ZipInfo, bytes | AudioStream], ...]
    size: int

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Generate the bytes `start:stop` in chunks."""
        offset = 0
        # a range is cut out of the whole, which is generated from its beginning
        for chunk in _write_zip(self.members):
            if part := chunk[max(0, start - offset) : max(0, stop - offset)]:
                yield part
            offset += len(chunk)
            if offset >= stop:
                break


def make_archive(files: Iterable[AudioFile], created: float, hook: MembersHook | None) -> ZipStream:
    """Return the archive of an export.

    Generates it once to measure it, which takes about a second per gigabyte.

    Args:
        files: Its members.
        created: Epoch seconds, the date of its members.
        hook: Replaces its members.
    """
    date = max(time.gmtime(created), _FIRST_ZIP_TIME)[:6]
    named: list[tuple[str | ZipInfo, bytes | AudioStream]] = [
        (file.name, file.make_audio()) for file in files
    ]
    if hook is not None:
        named = list(hook([(str(name), b"".join(_iterate(content))) for name, content in named]))
    members = tuple(
        (name if isinstance(name, ZipInfo) else ZipInfo(name, date), content) for name, content in named
    )
    # Content-Length and ranges need the size before the first byte is sent
    return ZipStream(members, sum(map(len, _write_zip(members))))


def _iterate(content: bytes | AudioStream) -> Iterable[bytes]:
    return content.chunks(0, content.size) if isinstance(content, AudioStream) else (content,)


def _write_zip(members: Iterable[tuple[ZipInfo, bytes | AudioStream]]) -> Iterator[bytes]:
    buffer = _Buffer()
    with ZipFile(buffer, "w", ZIP_STORED) as archive:
        for info, content in members:
            # Known in advance, so that zipfile chooses the header for more than 2 GB itself.
            info.file_size = content.size if isinstance(content, AudioStream) else len(content)
            with archive.open(info, "w") as target:
                for chunk in _iterate(content):
                    target.write(chunk)
                    yield buffer.take()
            archive.NameToInfo.clear()  # otherwise zipfile warns about duplicate names, which a hook may want
    yield buffer.take()
