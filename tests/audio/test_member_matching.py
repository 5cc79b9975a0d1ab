"""Members of a zip are matched to loaded recordings."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from archiving import make_recording

from vbc_source.audio.exports.matching import LoadedRecording, MemberMatcher
from vbc_source.pii import PiiPolicy

START = datetime(2025, 3, 1, 10, tzinfo=timezone.utc)
END = START + timedelta(minutes=2)
NAME = f"730048.15551234567.95a7584b.{int(END.timestamp() * 1000)}.mp3"
HASHING = PiiPolicy("hash", b"a-long-random-text")


def one(number: int = 1, name: str | None = NAME, size: int | None = 100, **changes: Any) -> LoadedRecording:
    end = changes.pop("end", END)
    return LoadedRecording(
        make_recording(recording_id=number, size_bytes=size, **{"start": START, **changes}), name, end
    )


def find(
    *candidates: LoadedRecording,
    name: str = NAME,
    size: int = 100,
    modified: datetime | None = None,
    pii: PiiPolicy = PiiPolicy(),  # noqa: B008
) -> int | None:
    found = MemberMatcher(candidates, pii).find(name, size, modified)
    return found.recording.recording_id if found else None


def test_name_and_size_identify_a_recording() -> None:
    assert find(one(1), one(2, "other.mp3")) == 1
    assert find(one(1, size=None)) == 1
    assert find(one(1), size=99) is None
    assert find(one(1), name=NAME.upper()) is None
    assert find() is None


def test_equal_names_are_distinguished_by_size_or_not_matched() -> None:
    assert find(one(1), one(2, size=101)) == 1
    assert find(one(1), one(2, size=101), size=101) == 2
    assert find(one(1), one(2, size=None)) == 1
    assert find(one(1), one(2)) is None
    assert find(one(1, size=None), one(2, size=None)) is None
    assert find(one(1), one(2, size=101), size=102) is None


def test_file_older_than_the_call_does_not_match() -> None:
    for days, expected in ((-400, None), (-2, None), (-0.5, 1), (0, 1), (30, 1)):
        assert find(one(1), modified=datetime(2025, 3, 1, 10) + timedelta(days=days)) == expected


def test_hashed_names_match_and_so_do_plain_names_loaded_before() -> None:
    hidden = HASHING.hide(NAME)
    assert find(one(1, hidden), one(2, HASHING.hide("other.mp3")), pii=HASHING) == 1
    assert find(one(1), pii=HASHING) == 1
    assert find(one(1, hidden), pii=PiiPolicy("hash", b"another")) is None
    assert find(one(1, hidden)) is None


@pytest.mark.parametrize("pii", [PiiPolicy("drop"), PiiPolicy(), HASHING])
def test_without_a_name_the_size_and_the_time_or_id_must_agree(pii: PiiPolicy) -> None:
    assert find(one(1, None), one(2, None, 101), pii=pii) == 1
    assert find(one(1, None), one(2, None), pii=pii) is None
    later = START + timedelta(days=1)
    assert find(one(1, None), one(2, None, start=later, end=later), pii=pii) == 1
    assert find(one(1, None, end=None), pii=pii) is None
    assert find(one(1, None), name="a.mp3", pii=pii) is None
    assert find(one(7, None, end=None), name="7.mp3", pii=pii) == 7
    assert find(one(7, None), name="7.mp3", size=99, pii=pii) is None
    assert find(one(7, None, size=None), name="7.mp3", pii=pii) is None
    assert find(one(7, None), name="0.9999999999999.mp3", pii=pii) is None
