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


def test_a_key_says_account_type_day_in_utc_and_id() -> None:
    key = make().key("mp3")
    assert key == "account_id=549825/recording_type=company/date=2025-02-28/193228.mp3"


def test_where_users_share_an_id_the_key_says_whose_it_is() -> None:
    mine = make(recording_type="user", user_id="7", shared_id=True).key("mp3")
    assert mine.endswith("recording_type=user/date=2025-02-28/193228.user_id=7.mp3")
    assert make(recording_type="user", user_id="7").key("wav").endswith("/193228.wav")


@pytest.mark.parametrize(
    "evil",
    ["..", ".", "", "/", "../../etc", "a/b", "a\\b", "a\0b", "a\nb", "%2e", "ü", "\xff", "x" * 999],
)
def test_no_id_leaves_its_place_in_the_path(evil: str) -> None:
    escaped = escape(evil)
    assert set(escaped) <= set("%-_~") | set(map(chr, range(48, 58))) | set(
        map(chr, [*range(65, 91), *range(97, 123)])
    )
    assert len(escaped) <= 200
    key = make(account_id=evil, user_id=evil, shared_id=True).key("mp3")
    assert len(key.split("/")) == 4
    assert not {"..", "."} & set(key.split("/"))


def test_two_ids_never_become_one_place() -> None:
    ids = ["a/b", "a%2Fb", "a.b", "a%2Eb", "x" * 201, "x" * 202, "a", "A"]
    assert len(set(map(escape, ids))) == len(ids)
