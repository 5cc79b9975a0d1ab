"""Judging what was read, a day's folder, a sidecar: values in, findings out."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from archiving import make_recording

from vbc_source.audio.ledger import LedgerRow, make_ledger_row
from vbc_source.fixity.days import compare_day, judge_sidecar
from vbc_source.fixity.inventory import ArchivedFile
from vbc_source.fixity.judging import Found, judge_object, judge_row

FOLDER = "account_id=549825/recording_type=company/date=2025-02-28"


def make_row(number: int = 1, **changes: Any) -> LedgerRow:
    recording = make_recording(recording_id=number)
    row = make_ledger_row(
        recording,
        "stored",
        recording.start,
        uri=f"s3://b/{FOLDER}/{number}.mp3",
        size_bytes=100 + number,
        sha256=f"{number:064}",
    )
    return replace(row, **changes)


@pytest.mark.parametrize(
    ("name", "changes", "own"),
    [
        ("1.mp3", {}, True),
        ("1.wav", {}, True),
        ("1.user_id=7.mp3", {"user_id": "7"}, True),
        ("1.mp3", {"user_id": "7"}, True),
        ("1.v2.mp3", {"version": 2}, True),
        ("1.user_id=8.mp3", {"user_id": "7"}, False),
        ("1.mp3", {"version": 2}, False),
        ("1.v2.mp3", {}, False),
        ("2.mp3", {}, False),
        ("1.mp3", {"account_id": "1"}, False),
        ("1.mp3", {"recording_type": "user"}, False),
        ("1.mp3.damaged-0", {}, False),
    ],
)
def test_a_row_names_the_file_of_its_recording(name: str, changes: dict[str, Any], own: bool) -> None:
    verdict = judge_row(make_row(**changes), f"{FOLDER}/{name}")
    assert (verdict is None) == own
    assert own or (verdict and verdict.outcome == "damaged")


def test_an_object_is_judged_by_the_row() -> None:
    row = make_row()
    assert judge_object(row, Found(101, f"{1:064}")).outcome == "ok"
    assert judge_object(row, Found(100, f"{1:064}")) == ("damaged", "it has 100 bytes, 101 in the ledger")
    assert judge_object(row, Found(101, f"{2:064}")).outcome == "damaged"
    assert judge_object(row, None).outcome == "missing"
    without = judge_row(replace(row, sha256=None), f"{FOLDER}/1.mp3")
    elsewhere = judge_row(row, None)
    assert without
    assert elsewhere
    assert (without.outcome, elsewhere.outcome) == ("damaged", "unreadable")


def test_a_day_is_compared_with_its_listing_and_manifest() -> None:
    files = [ArchivedFile(make_row(number), newest=True) for number in (1, 2, 3)]
    sizes = {f"{number}.mp3": 100 + number for number in (1, 2, 3)}
    bare = compare_day(files, sizes, None)
    assert (bare.bare, bare.files, bare.sidecars, bare.manifest) == (True, 3, (), ())

    whole = sizes | {f"{number}.json": 9 for number in (1, 2, 3)} | {"manifest-sha256.txt": 9}
    lines = [f"{number:064}  {number}.mp3" for number in (1, 2, 3)]
    lines += [f"{9:064} *1.json", f"{9:064}  2.json", f"{9:064}  3.json"]
    sound = compare_day(files, whole, ("\n".join(lines) + "\n").encode())
    assert (sound.bare, sound.unknown, sound.suspects, sound.sidecars, sound.manifest) == (
        False,
        (),
        (),
        (),
        (),
    )

    listed = {name: size for name, size in whole.items() if name not in ("2.json", "3.mp3")}
    listed |= {"1.mp3": 7, "4.mp3": 5, "4.mp3.damaged-0": 5}
    lines[1] = f"{5:064}  2.mp3"
    lines[2:] = ["what is this", f"{7:064}  1.mp3", f"{6:064}  6.mp3"]  # and no line of 1.json
    found = compare_day(files, listed, "\n".join(lines).encode())
    assert found.unknown == ("4.mp3",)
    assert [file.row.recording_id for file in found.suspects] == [1, 3]
    assert [flaw.name for flaw in found.sidecars] == ["2.json"]
    assert [flaw.reason for flaw in found.manifest] == [
        "its line 3 is not a hash and a name",
        "it has two hashes of 1.mp3",
        "it has no line of 1.json",
        "its hash of 2.mp3 is not that of the ledger",
        "it has no line of 3.mp3",
        "it names 6.mp3, which is not there",
    ]
    assert [flaw.reason for flaw in compare_day(files, whole, None).manifest] == ["it is missing"]


def test_a_sidecar_agrees_with_ledger_and_manifest() -> None:
    body = json.dumps({"audio": {"sha256": "a"}}).encode()
    listed = hashlib.sha256(body).hexdigest()
    assert judge_sidecar(body, "a", None) is None
    assert judge_sidecar(body, "a", listed) is None
    assert "not that of the ledger" in str(judge_sidecar(body, "b", listed))
    assert "manifest" in str(judge_sidecar(body + b" ", "a", listed))
    for broken in (b"", b"{", b"[]", b'{"audio": 1}'):
        assert "not a sidecar" in str(judge_sidecar(broken, "a", None))
