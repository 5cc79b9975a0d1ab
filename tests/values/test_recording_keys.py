from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest

from vbc_source.recordings import Recording, escape

NIGHT = datetime(2025, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=5, minutes=30)))


def make(**changes: object) -> Recording:
    fields: dict[str, object] = {
        "account_id": "549825",
        "recording_type": "company",
        "user_id": "",
        "recording_id": 193228,
        "start": NIGHT,
        "download_url": None,
        "size_bytes": None,
    }
    return Recording(**{**fields, **changes})  # type: ignore[arg-type]


def test_key_contains_account_type_utc_day_and_id() -> None:
    key = make().key("mp3")
    assert key == "account_id=549825/recording_type=company/date=2025-02-28/193228.mp3"


def test_key_contains_the_user_if_users_share_the_id() -> None:
    mine = make(recording_type="user", user_id="7", shared_id=True).key("mp3")
    assert mine.endswith("recording_type=user/date=2025-02-28/193228.user_id=7.mp3")
    assert make(recording_type="user", user_id="7").key("wav").endswith("/193228.wav")


@pytest.mark.parametrize(
    "evil",
    ["..", ".", "", "/", "../../etc", "a/b", "a\\b", "a\0b", "a\nb", "%2e", "ü", "\xff", "x" * 999],
)
def test_ids_cannot_leave_their_path_segment(evil: str) -> None:
    escaped = escape(evil)
    assert set(escaped) <= set("%-_~") | set(map(chr, range(48, 58))) | set(
        map(chr, [*range(65, 91), *range(97, 123)])
    )
    assert len(escaped) <= 200
    key = make(account_id=evil, user_id=evil, shared_id=True).key("mp3")
    assert len(key.split("/")) == 4
    assert not {"..", "."} & set(key.split("/"))


def test_different_ids_have_different_segments() -> None:
    ids = ["a/b", "a%2Fb", "a.b", "a%2Eb", "x" * 201, "x" * 202, "a", "A"]
    assert len(set(map(escape, ids))) == len(ids)
