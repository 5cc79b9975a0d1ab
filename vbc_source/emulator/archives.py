"""The archive of an export, made while it is sent."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import ClassVar
from zipfile import ZIP_STORED, ZipFile, ZipInfo

from vbc_source.emulator.audio import Audio
from vbc_source.emulator.files import File

Members = list[tuple[str, bytes]]
MembersHook = Callable[[Members], Iterable[tuple["str | ZipInfo", bytes]]]
"""Is given names and contents of an archive and gives those that are sent instead.

A ``ZipInfo`` in place of a name decides how its member is packed, and what it claims to be.
"""

_EARLIEST = time.gmtime(315_532_800)  # 1980, when the archive's calendar begins


class _Sink:
    """Takes what is written and hands it on."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def flush(self) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken


@dataclass(frozen=True, slots=True)
class Archive:
    """An archive that is never in memory as a whole, unless a hook made its contents.

    Attributes:
        members: What is in it.
        size: Bytes.
    """

    media_type: ClassVar[str] = "application/zip"

    members: tuple[tuple[ZipInfo, bytes | Audio], ...]
    size: int

    async def stream(self, start: int, stop: int) -> AsyncIterator[bytes]:
        """Make the bytes from ``start`` to before ``stop``, a chunk at a time."""
        place = 0
        for chunk in _write(self.members):
            if part := chunk[max(0, start - place) : max(0, stop - place)]:
                yield part
            place += len(chunk)
            if place >= stop:
                break


def make_archive(files: Iterable[File], moment: float, hook: MembersHook | None) -> Archive:
    """Plan an archive; takes about a second for each gigabyte, as it is made once to be measured.

    Args:
        files: What is in it.
        moment: When its members were made, in epoch seconds.
        hook: Changes what is in it.
    """
    date = max(time.gmtime(moment), _EARLIEST)[:6]
    planned: list[tuple[str | ZipInfo, bytes | Audio]] = [(file.name, file.make_audio()) for file in files]
    if hook is not None:
        planned = list(hook([(str(name), _read(content)) for name, content in planned]))
    members = tuple(
        (name if isinstance(name, ZipInfo) else ZipInfo(name, date), content) for name, content in planned
    )
    return Archive(members, sum(map(len, _write(members))))


def _chunks(content: bytes | Audio) -> Iterable[bytes]:
    return content.chunks(0, content.size) if isinstance(content, Audio) else (content,)


def _read(content: bytes | Audio) -> bytes:
    return b"".join(_chunks(content))


def _write(members: Iterable[tuple[ZipInfo, bytes | Audio]]) -> Iterator[bytes]:
    sink = _Sink()
    with ZipFile(sink, "w", ZIP_STORED) as archive:
        for info, content in members:
            info.file_size = content.size if isinstance(content, Audio) else len(content)
            with archive.open(info, "w") as target:
                for chunk in _chunks(content):
                    target.write(chunk)
                    yield sink.take()
            archive.NameToInfo.clear()  # else it would warn of names that occur twice
    yield sink.take()
