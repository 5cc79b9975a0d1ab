"""Reads a zip that anybody may have made. Pure over a file: nothing is ever extracted to a path.

What a member is called decides nothing here but whether it is refused; what it claims to be is checked
before it is read, what it really is while it is.
"""

from __future__ import annotations

import re
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from vbc_source.errors import InvalidContent, VbcError

PIECE = 1 << 16  # bytes
DIRECTORY_BYTES = 16 << 20  # the list of members, which Python's reader holds in memory as a whole
_LOCAL_HEADER = 30  # bytes, at least
_UNREADABLE = 0x1 | 0x20 | 0x40 | 0x2000  # flags: encrypted, patched, strongly encrypted, names hidden
_DRIVE = re.compile(r"[A-Za-z]:")
_BROKEN = (BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError, OverflowError, OSError)


class ZipRefused(VbcError):
    """A zip is none, is damaged, or claims what no export would."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a zip may claim to hold.

    Attributes:
        members: how many.
        total_bytes: unpacked, all together.
        member_bytes: unpacked, each.
        ratio: unpacked bytes to a packed one, of members above `ratio_from` bytes. Sound does not pack.
        ratio_from: bytes.
    """

    members: int = 50_000
    total_bytes: int = 200_000_000_000
    member_bytes: int = 4_000_000_000
    ratio: int = 200
    ratio_from: int = 1_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip.

    Attributes:
        name: without folders; may hold a phone number, so that it belongs in no log.
        size: bytes, unpacked, as the zip claims.
        modified: when it was made, in whatever zone; None where the zip does not say.
        refused: why it must not be read, or None.
        info: as the zip has it.
    """

    name: str
    size: int
    modified: datetime | None
    refused: str | None
    info: ZipInfo


class MemberStream:
    """The bytes of a member, checked against its checksum at the end.

    Attributes:
        content_type: nothing; a zip does not say.
        size: as the zip claims.
    """

    def __init__(self, source: ZipFile, member: Member) -> None:
        self.content_type: str | None = None
        self.size: int | None = member.size
        self._source, self._member = source, member

    def __iter__(self) -> Iterator[bytes]:
        """Give the bytes, piece by piece.

        Raises:
            NotStored: the member is refused or damaged.
        """
        if self._member.refused:
            raise InvalidContent(self._member.refused)
        try:
            with self._source.open(self._member.info) as file:
                while piece := file.read(PIECE):
                    yield piece
        except (*_BROKEN, zlib.error):
            # its text holds the member's name
            raise InvalidContent("the member of the zip is damaged") from None


class Zip:
    """The files in a zip.

    Args:
        file: the zip, seekable.
        limits: how much it may claim to hold.

    Raises:
        ZipRefused: it is none, is damaged, or claims too much.
    """

    def __init__(self, file: BinaryIO, limits: Limits = Limits()) -> None:
        try:
            self._zip = ZipFile(_Bounded(file))
        except (*_BROKEN, struct.error) as error:
            raise ZipRefused(f"what came is not a whole zip ({type(error).__name__})") from None
        infos = self._zip.infolist()
        _check_claims(infos, limits)
        self.members = [_read_member(info, limits) for info in infos if not info.is_dir()]

    def open(self, member: Member) -> MemberStream:
        """Give the bytes of a member."""
        return MemberStream(self._zip, member)


class _Bounded:
    """A file of which nobody reads so much at once that memory would not hold it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if size > DIRECTORY_BYTES:
            raise BadZipFile("the list of members is too long")
        found = self._file.read(size if size >= 0 else DIRECTORY_BYTES + 1)
        if len(found) > DIRECTORY_BYTES:
            raise BadZipFile("the end is too long")
        return found


def _check_claims(infos: Sequence[ZipInfo], limits: Limits) -> None:
    if len(infos) > limits.members:
        raise ZipRefused(f"the zip has {len(infos):,} members, more than {limits.members:,}")
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        raise ZipRefused(f"the zip claims {total:,} bytes unpacked, more than {limits.total_bytes:,}")
    ends = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < ends:  # many members of the same bytes: a bomb of a few kilobytes
            raise ZipRefused("members of the zip overlap")
        ends = info.header_offset + _LOCAL_HEADER + info.compress_size


def _read_member(info: ZipInfo, limits: Limits) -> Member:
    made = datetime(*info.date_time) if info.date_time > (1980, 1, 1, 0, 0, 0) and _is_date(info) else None
    name = PurePosixPath(info.orig_filename).name
    return Member(name, info.file_size, made, _refuse(info, limits), info)


def _is_date(info: ZipInfo) -> bool:
    try:
        datetime(*info.date_time)
    except ValueError:
        return False
    return True


def _refuse(info: ZipInfo, limits: Limits) -> str | None:
    """Say why a member must not be read; None where it may be."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    leaves = name.startswith("/") or ".." in PurePosixPath(name).parts or _DRIVE.match(name)
    packed = max(info.compress_size, 1)
    reasons = {
        "its name leaves its folder": bool(leaves),
        "its name holds a backslash or a control character": "\\" in name or not name.isprintable(),
        "it has no name": not PurePosixPath(name).name,
        "it is a link or a device, not a file": kind not in (0, stat.S_IFREG),
        "it is encrypted": bool(info.flag_bits & _UNREADABLE),
        "it is packed in an unusual way": info.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
        f"it claims more than {limits.member_bytes:,} bytes": info.file_size > limits.member_bytes,
        f"it unpacks to more than {limits.ratio} times its size": (
            info.file_size > limits.ratio_from and info.file_size > limits.ratio * packed
        ),
    }
    return next((f"a member is refused: {reason}" for reason, holds in reasons.items() if holds), None)
