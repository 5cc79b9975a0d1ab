"""Archived files that are not as long as their recordings are listed, by their newest version."""

from __future__ import annotations

from pathlib import Path

import pytest
from raw_tables import COLUMNS, INSTANT, MAIN, TEXT, WHOLE, Row, at, invent
from test_models import KINDS, open_models


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_files_of_another_length_than_their_recordings_are_listed(
    own_folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"version": WHOLE, "fetched_at": INSTANT, "audio_duration": WHOLE, "uri": TEXT}
    monkeypatch.setitem(COLUMNS, "recording_audio", {**COLUMNS["recording_audio"], **more})
    tables = invent(3)
    gone = {row["recording_id"] for row in tables["recording_tombstones"]}
    half, longer, mended, broken, unknown = [
        row
        for row in tables["company_recordings"]
        if row["account_id"] == MAIN and (row["duration"] or 0) > 30_000 and row["id"] not in gone
    ][:5]

    def archive(row: Row, version: int, day: int, length: int | None) -> Row:
        key = {"account_id": MAIN, "recording_type": "company", "user_id": "", "recording_id": row["id"]}
        about = {"version": version, "fetched_at": at(f"2025-12-0{day}T00:00:00"), "uri": "file:///x"}
        return {**key, **about, "status": "stored", "audio_duration": length}

    tables["recording_audio"] = [
        archive(half, 1, 1, half["duration"] // 2),
        archive(longer, 1, 1, longer["duration"] + 9_000),
        archive(mended, 1, 2, 0),
        archive(mended, 2, 1, mended["duration"]),
        archive(broken, 1, 1, broken["duration"]),
        archive(broken, 2, 2, 0),
        archive(unknown, 1, 1, None),
    ]
    with open_models(kind, own_folder) as models:
        models.write(tables)
        models.run("run")
        found = models.read("audio_differences", "recording_id, difference_seconds, uri")
        models.run("test")
    assert {id_: (seconds, uri) for id_, seconds, uri in found} == {
        half["id"]: (pytest.approx((half["duration"] // 2 - half["duration"]) / 1000), "file:///x"),
        broken["id"]: (pytest.approx(-broken["duration"] / 1000), "file:///x"),
    }
    assert len(found) == 2
