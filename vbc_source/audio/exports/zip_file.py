"""Read a zip of unknown origin safely. Pure over a file object: nothing is extracted to a path.

The name of a member decides only whether it is refused. What a member claims to be is checked before it is
read, its real size and checksum while it is read.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import PurePosixPath
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from vbc_source.errors import InvalidContent, VbcError

CHUNK_BYTES = 1 << 16
MAX_DIRECTORY_BYTES = 16 << 20  # the directory of members, which zipfile reads into memory as a whole
_LOCAL_HEADER_BYTES = 30  # at least
_UNREADABLE_FLAGS = 0x1 | 0x20 | 0x40 | 0x2000  # encrypted, patched, strongly encrypted, names masked
_DRIVE = re.compile(r"[A-Za-z]:")
# whatever zipfile raises for a damaged zip
_READ_ERRORS = (BadZipFile, NotImplementedError, ValueError, EOFError, RuntimeError, OverflowError, OSError)


class ZipRefused(VbcError):
    """Raised when a file is not a zip, is damaged, or claims more than any export contains."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much a zip may claim to contain.

    Attributes:
        members: Number of members.
        total_bytes: Unpacked bytes of all members.
        member_bytes: Unpacked bytes of one member.
        ratio: Of unpacked to packed bytes: audio hardly compresses, so more is a zip bomb.
        ratio_from: Unpacked bytes of a member above which the ratio is checked: short silence is no bomb.
        silent_bytes: Unpacked bytes of all smaller members above the ratio together; more are a bomb.
    """

    members: int = 50_000
    total_bytes: int = 200_000_000_000
    member_bytes: int = 4_000_000_000
    ratio: int = 200
    ratio_from: int = 1_000_000
    silent_bytes: int = 100_000_000


@dataclass(frozen=True, slots=True)
class Member:
    """A file in a zip. Its name, without folders, may contain a phone number: never log it."""

    name: str
    size: int  # unpacked bytes, as the zip claims
    modified: datetime | None  # in an unknown time zone
    refused: str | None  # why it must not be read
    info: ZipInfo
    ambiguous: bool = False  # another one has its name and size, and other bytes


class MemberStream:
    """The bytes of a member, verified against its checksum at the end."""

    def __init__(self, source: ZipFile, member: Member) -> None:
        self.content_type: str | None = None  # zips contain none
        self.size: int | None = member.size
        self.digest = hashlib.sha256()
        self._source, self._member = source, member

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in chunks; raise InvalidContent if the member is refused or damaged."""
        if self._member.refused:
            raise InvalidContent(self._member.refused)
        try:
            with self._source.open(self._member.info) as file:
                while chunk := file.read(CHUNK_BYTES):
                    self.digest.update(chunk)
                    yield chunk
        except (*_READ_ERRORS, zlib.error):
            # without the cause: its message contains the member's name
            raise InvalidContent("the member of the zip is damaged") from None


class Zip:
    """The files in a seekable zip, in their order; raises ZipRefused if it is damaged or claims too much."""

    def __init__(self, file: BinaryIO, limits: Limits = Limits()) -> None:
        try:
            self._zip = ZipFile(_BoundedFile(file))
        except (*_READ_ERRORS, struct.error) as error:
            raise ZipRefused(f"the file is not a complete zip ({type(error).__name__})") from None
        infos = self._zip.infolist()
        _check_claims(infos, limits)
        small = [
            info for info in infos if info.file_size <= limits.ratio_from and _exceeds_ratio(info, limits)
        ]
        if sum(info.file_size for info in small) > limits.silent_bytes:
            limits = replace(limits, ratio_from=0)
        # not `is_dir()`, which fails for a member without a name
        members = [_read_member(info, limits) for info in infos if not info.filename.endswith("/")]
        self.members = _mark_ambiguous(_leave_out_doubles(members))

    def open(self, member: Member) -> MemberStream:
        """Return the bytes of a member."""
        return MemberStream(self._zip, member)


class _BoundedFile:
    """A file that refuses large reads: a directory of gigabytes would fill the memory."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell, self.seekable, self.close = file.seek, file.tell, file.seekable, file.close

    def read(self, size: int = -1) -> bytes:
        if size > MAX_DIRECTORY_BYTES:
            raise BadZipFile("the directory is too large")
        content = self._file.read(size if size >= 0 else MAX_DIRECTORY_BYTES + 1)
        if len(content) > MAX_DIRECTORY_BYTES:
            raise BadZipFile("the end of the zip is too large")
        return content


def _check_claims(infos: Sequence[ZipInfo], limits: Limits) -> None:
    if len(infos) > limits.members:
        raise ZipRefused(f"the zip has {len(infos):,} members, more than {limits.members:,}")
    total = sum(info.file_size for info in infos)
    if total > limits.total_bytes:
        raise ZipRefused(f"the zip claims {total:,} bytes unpacked, more than {limits.total_bytes:,}")
    end = 0
    for info in sorted(infos, key=lambda info: info.header_offset):
        if info.header_offset < end:  # many members with the same bytes: a bomb of a few kilobytes
            raise ZipRefused("members of the zip overlap")
        end = info.header_offset + _LOCAL_HEADER_BYTES + info.compress_size


def _exceeds_ratio(info: ZipInfo, limits: Limits) -> bool:
    return info.file_size > limits.ratio * max(info.compress_size, 1)


def _read_member(info: ZipInfo, limits: Limits) -> Member:
    # the name as it is in the zip: zipfile ends `filename` at the first NUL
    name = PurePosixPath(info.orig_filename).name
    return Member(name, info.file_size, _read_time(info), _find_refusal(info, limits), info)


def _leave_out_doubles(members: Sequence[Member]) -> list[Member]:
    """Leave out members that are there before with the same name, size and bytes: they are no other files."""
    seen: set[tuple[str, int, int]] = set()
    kept = []
    for one in members:
        content = one.name, one.size, one.info.CRC
        if one.refused or content not in seen:  # whatever is refused is counted
            kept.append(one)
        if not one.refused:
            seen.add(content)
    return kept


def _mark_ambiguous(members: Sequence[Member]) -> list[Member]:
    """Mark members of one name and size with different bytes: nothing tells which is the recording."""
    checksums: defaultdict[tuple[str, int], set[int]] = defaultdict(set)
    for member in members:
        checksums[member.name, member.size].add(member.info.CRC)
    return [replace(member, ambiguous=len(checksums[member.name, member.size]) > 1) for member in members]


def _read_time(info: ZipInfo) -> datetime | None:
    try:
        # 1980-01-01 00:00 is the zero of the format: no time was recorded
        return datetime(*info.date_time) if info.date_time > (1980, 1, 1, 0, 0, 0) else None
    except ValueError:
        return None


def _find_refusal(info: ZipInfo, limits: Limits) -> str | None:
    """Return why a member must not be read, or None; without its name, which may contain a phone number."""
    name, kind = info.orig_filename, stat.S_IFMT(info.external_attr >> 16)
    leaves_folder = name.startswith("/") or ".." in PurePosixPath(name).parts or _DRIVE.match(name)
    reasons = {
        "its name leaves its folder": bool(leaves_folder),
        "its name contains a backslash or a control character": "\\" in name or not name.isprintable(),
        "it has no name": not PurePosixPath(name).name,
        # where a zip was made on a system without modes, they are 0
        "it is a link or a device, not a file": kind not in (0, stat.S_IFREG),
        "it is encrypted": bool(info.flag_bits & _UNREADABLE_FLAGS),
        "its compression method is not supported": info.compress_type not in (ZIP_STORED, ZIP_DEFLATED),
        f"it claims more than {limits.member_bytes:,} bytes": info.file_size > limits.member_bytes,
        f"it unpacks to more than {limits.ratio} times its size": (
            info.file_size > limits.ratio_from and _exceeds_ratio(info, limits)
        ),
    }
    return next((f"a member is refused: {reason}" for reason, applies in reasons.items() if applies), None)
