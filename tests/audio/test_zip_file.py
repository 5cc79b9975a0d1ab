"""Hostile and broken zips: nothing is extracted, and no member that claims too much is read."""

from __future__ import annotations

import io
import stat
import struct
import tracemalloc
import zlib
from collections.abc import Iterable
from zipfile import ZIP_BZIP2, ZIP_DEFLATED, ZIP_LZMA, ZipFile, ZipInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vbc_source.audio.exports.zip_file import Limits, Zip, ZipRefused
from vbc_source.errors import InvalidContent

MADE = (2025, 6, 1, 10, 0, 0)
SOUND = b"\xff\xfb\x14\xc4" + bytes(range(92))


def info(name: str, **changes: int) -> ZipInfo:
    found = ZipInfo("x", MADE)
    found.filename = found.orig_filename = name
    for key, value in changes.items():
        setattr(found, key, value)
    return found


def pack(*members: tuple[ZipInfo, bytes]) -> io.BytesIO:
    packed = io.BytesIO()
    with ZipFile(packed, "w") as target:
        for one, content in members:
            target.writestr(one, content)
            target.NameToInfo.clear()
    return packed


def read(source: Zip) -> list[bytes]:
    return [b"".join(source.open(member)) for member in source.members]


def test_members_keep_order_names_sizes_and_times() -> None:
    deflated = info("deep/er/b.mp3", compress_type=ZIP_DEFLATED)
    source = Zip(pack((info("a.mp3"), SOUND), (info("deep/"), b""), (deflated, SOUND * 99)))
    assert [(one.name, one.size, one.refused) for one in source.members] == [
        ("a.mp3", 96, None),
        ("b.mp3", 96 * 99, None),
    ]
    assert source.members[0].modified is not None
    assert source.members[0].modified.timetuple()[:6] == MADE
    assert read(source) == [SOUND, SOUND * 99]


def test_invalid_time_is_none() -> None:
    for date in ((1980, 1, 1, 0, 0, 0), (2025, 2, 31, 0, 0, 0), (2025, 0, 0, 0, 0, 0)):
        assert Zip(pack((info("a", date_time=date), b"1"))).members[0].modified is None  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("../evil.mp3", "leaves its folder"),
        ("a/../../evil.mp3", "leaves its folder"),
        ("/etc/evil.mp3", "leaves its folder"),
        ("C:/evil.mp3", "leaves its folder"),
        ("..\\evil.mp3", "backslash"),
        ("a\x00/../evil.mp3", "leaves its folder"),
        ("a\nb.mp3", "control character"),
        ("a\x1b[2Jb.mp3", "control character"),
    ],
)
def test_name_that_points_elsewhere_is_refused(name: str, why: str) -> None:
    packed = bytearray(pack((info(name.replace("\0", "#")), SOUND), (info("good.mp3"), SOUND)).getvalue())
    source = Zip(io.BytesIO(bytes(packed).replace(b"a#", b"a\0")))
    evil, good = source.members
    assert why in (evil.refused or "")
    assert "evil" not in (evil.refused or "")
    assert b"".join(source.open(good)) == SOUND
    with pytest.raises(InvalidContent, match=why):
        b"".join(source.open(evil))


def test_name_cut_by_a_null_byte_is_refused() -> None:
    packed = pack((info("good.mp3#.exe"), SOUND)).getvalue().replace(b"#", b"\0")
    assert "control character" in (Zip(io.BytesIO(packed)).members[0].refused or "")


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"external_attr": (stat.S_IFLNK | 0o777) << 16, "create_system": 3}, "a link"),
        ({"external_attr": (stat.S_IFIFO | 0o777) << 16, "create_system": 3}, "a link or a device"),
        ({"compress_type": ZIP_LZMA}, "compression method"),
        ({"compress_type": ZIP_BZIP2}, "compression method"),
    ],
)
def test_member_that_is_not_a_plain_file_is_refused(changes: dict[str, int], why: str) -> None:
    assert why in (Zip(pack((info("a.mp3", **changes), SOUND))).members[0].refused or "")


@pytest.mark.parametrize("bit", [0x1, 0x40, 0x2000])
def test_encrypted_member_is_refused(bit: int) -> None:
    packed = bytearray(pack((info("a.mp3"), SOUND)).getvalue())
    place = packed.index(b"PK\x01\x02")
    packed[place + 8 : place + 10] = struct.pack("<H", bit)
    assert "encrypted" in (Zip(io.BytesIO(bytes(packed))).members[0].refused or "")


def test_bomb_is_refused_by_its_ratio_and_a_small_file_is_not() -> None:
    packed = pack(
        (info("bomb.mp3", compress_type=ZIP_DEFLATED), bytes(5_000_000)),
        (info("quiet.mp3", compress_type=ZIP_DEFLATED), bytes(900_000)),
    )
    bomb, quiet = Zip(packed).members
    assert "unpacks to more than 200 times" in (bomb.refused or "")
    assert quiet.refused is None


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(members=2), "3 members, more than 2"),
        (Limits(total_bytes=287), "288 bytes unpacked, more than 287"),
    ],
)
def test_zip_that_claims_too_much_is_refused(limits: Limits, why: str) -> None:
    packed = pack(*((info(f"{number}.mp3"), SOUND) for number in range(3)))
    with pytest.raises(ZipRefused, match=why):
        Zip(packed, limits)
    assert Zip(packed, Limits(3, 288)).members[0].refused is None
    assert "more than 95 bytes" in (Zip(packed, Limits(member_bytes=95)).members[0].refused or "")


def test_overlapping_members_are_refused() -> None:
    """A few kilobytes that unpack to gigabytes: every member points at the same bytes."""
    packed = pack((info("a.mp3"), SOUND)).getvalue()
    start, end = packed.index(b"PK\x01\x02"), packed.index(b"PK\x05\x06")
    entry = packed[start:end]
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 50, 50, len(entry) * 50, start, 0)
    with pytest.raises(ZipRefused, match="overlap"):
        Zip(io.BytesIO(packed[:start] + entry * 50 + tail))


def lie(packed: bytes, size: int, crc: int | None = None) -> bytes:
    """Change the size, or the checksum, in the directory of members."""
    changed, place = bytearray(packed), packed.index(b"PK\x01\x02")
    changed[place + 24 : place + 28] = struct.pack("<L", size)
    if crc is not None:
        changed[place + 16 : place + 20] = struct.pack("<L", crc)
    return bytes(changed)


@pytest.mark.parametrize("kind", [0, ZIP_DEFLATED])
def test_member_that_differs_from_its_directory_entry_is_damaged(kind: int) -> None:
    packed = pack((info("15551234567.mp3", compress_type=kind), SOUND * 2000)).getvalue()
    size = len(SOUND) * 2000
    for bad in (
        lie(packed, size, 0),
        lie(packed, size - 1),
        packed.replace(SOUND[:50], SOUND[:49] + b"x", 1),
        packed.replace(b"PK\x03\x04", b"PK\x03\x05", 1),
        packed.replace(b"15551234567.mp3", b"15551234568.mp3", 1),
    ):
        if bad == packed:
            continue
        with pytest.raises(InvalidContent, match="damaged") as caught:
            read(Zip(io.BytesIO(bad)))
        assert "1555" not in str(caught.value)
    longer = Zip(io.BytesIO(lie(packed, size + 1)))
    received = b""
    try:
        for piece in longer.open(longer.members[0]):
            received += piece
    except InvalidContent:
        return
    assert len(received) != longer.members[0].size  # the archive compares the sizes


def cut(packed: bytes) -> Iterable[bytes]:
    yield from (b"", b"PK", b"<html>", packed[:-1], packed[: len(packed) // 2], packed[50:], bytes(100))
    yield b"PK\x05\x06" + bytes(17)


def test_incomplete_zip_is_refused() -> None:
    packed = pack((info("a.mp3"), SOUND * 10)).getvalue()
    for bad in cut(packed):
        with pytest.raises(ZipRefused):
            read(Zip(io.BytesIO(bad)))
    assert Zip(pack()).members == []


def test_directory_too_large_for_memory_is_not_read() -> None:
    size = 40 << 20
    tail = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 9, 9, size, 0, 0)
    packed = io.BytesIO(bytes(size) + tail)
    tracemalloc.start()
    with pytest.raises(ZipRefused):
        Zip(packed)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 5 << 20


def test_large_member_is_read_in_chunks() -> None:
    packed = pack((info("a.mp3", compress_type=ZIP_DEFLATED), SOUND * 300_000))
    source = Zip(packed, Limits(ratio=10_000))
    tracemalloc.start()
    digest = 0
    for piece in source.open(source.members[0]):
        digest = zlib.crc32(piece, digest)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert digest == source.members[0].info.CRC
    assert peak < 2 << 20


VALID = pack((info("a.mp3"), SOUND), (info("b.mp3", compress_type=ZIP_DEFLATED), SOUND * 9)).getvalue()


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.lists(st.tuples(st.integers(0, len(VALID) - 1), st.integers(0, 255)), min_size=1, max_size=4))
def test_changed_bytes_only_raise_own_errors(
    changes: list[tuple[int, int]],
) -> None:
    changed = bytearray(VALID)
    for place, value in changes:
        changed[place] = value
    try:
        source = Zip(io.BytesIO(bytes(changed)))
    except ZipRefused:
        return
    for member in source.members:
        try:
            b"".join(source.open(member))
        except InvalidContent:
            continue


@pytest.mark.parametrize("name", ["", "\0", "/", ".", "..", "a/"])
def test_a_member_without_a_usable_name_leaves_the_others_readable(name: str) -> None:
    packed = pack((info(name.replace("\0", "#")), b""), (info("good.mp3"), b"sound")).getvalue()
    source = Zip(io.BytesIO(packed.replace(b"#", b"\0")))
    *odd, good = source.members
    assert b"".join(source.open(good)) == b"sound"
    assert all(one.refused for one in odd)


def test_many_small_members_that_unpack_to_much_are_refused_together() -> None:
    silence = bytes(900_000)
    bombs = [(info(f"{number}.mp3", compress_type=ZIP_DEFLATED), silence) for number in range(5)]
    packed = pack(*bombs, (info("good.mp3"), SOUND))
    few = Zip(packed, Limits(silent_bytes=5_000_000))
    assert [one.refused for one in few.members] == [None] * 6  # short silent recordings
    *refused, good = Zip(packed, Limits(silent_bytes=4_000_000)).members
    assert all("more than 200 times" in (one.refused or "") for one in refused)
    assert good.refused is None


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=12), max_size=4))
def test_whatever_members_are_called_the_others_are_read(names: list[str]) -> None:
    source = Zip(pack(*((info(name), SOUND) for name in names), (info("good.mp3"), SOUND)))
    assert b"".join(source.open(source.members[-1])) == SOUND
