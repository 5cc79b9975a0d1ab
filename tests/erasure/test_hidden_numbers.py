"""Numbers that no table has: hashed or dropped ones, in pending packages, of what is not loaded."""

from __future__ import annotations

import hashlib
import hmac
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest
from expected_rows import ago, only
from forgetting import NUMBER, list_planted, plant, search
from loading import open_target, run_vbc

from vbc_source.emulator import Emulator
from vbc_source.load.destinations import Target
from vbc_source.load.parts import hold_part

KEY = "a-long-random-text-for-tests"
HASH = {"SOURCES__VBC__PII": "hash", "SOURCES__VBC__PII_KEY": KEY}


def count(folder: Path, where: str = "true") -> int:
    with duckdb.connect(str(folder / "vbc.duckdb"), read_only=True) as connection:
        rows = connection.execute(
            f"SELECT count(*) FROM vbc_data.company_recordings WHERE {where}"
        ).fetchall()
    return int(rows[0][0])


@pytest.mark.slow
@pytest.mark.parametrize("by", ["number", "hash"])
def test_a_hashed_number_is_found_by_its_hash(own_folder: Path, by: str) -> None:
    gateway = plant()
    digest = hmac.new(KEY.encode(), b"12025550177", hashlib.sha256).hexdigest()
    with Emulator(gateway) as url:
        assert run_vbc(own_folder, url, "sync", **HASH).returncode == 0
        assert count(own_folder, f"caller_id = '{digest}'") == 1
        arguments = [NUMBER] if by == "number" else ["--caller-hash", digest]
        done = run_vbc(own_folder, url, "forget", *arguments, "--apply", **HASH)
        assert done.returncode == 0, done.stdout + done.stderr
        assert digest not in done.stdout + done.stderr
        assert count(own_folder, f"'{digest}' IN (caller_id, dnis)") == 0
        assert len(list_planted(gateway)) == (0 if by == "number" else 2)  # in other spellings
        assert run_vbc(own_folder, url, "sync", **HASH).returncode == 0
        assert count(own_folder, f"'{digest}' IN (caller_id, dnis)") == 0
        # the hash that stands for the person in tables is a trace as well
        assert search(own_folder, digest) == []


@pytest.mark.slow
def test_a_dropped_number_is_found_by_vbcs_filter_and_by_ids(own_folder: Path) -> None:
    gateway = plant()
    with Emulator(gateway) as url:
        assert run_vbc(own_folder, url, "sync", SOURCES__VBC__PII="drop").returncode == 0
        before = count(own_folder)
        done = run_vbc(own_folder, url, "forget", "-", "--apply", SOURCES__VBC__PII="drop")
        assert done.returncode == 2  # nothing on stdin
        done = run_vbc(own_folder, url, "forget", NUMBER, "--apply", SOURCES__VBC__PII="drop")
        assert done.returncode == 0, done.stdout + done.stderr
        left = {id_ for _, id_ in list_planted(gateway)}
        assert count(own_folder) < before
        for id_ in left:
            name = str(id_)
            done = run_vbc(
                own_folder, url, "forget", "--recording", name, "--apply", SOURCES__VBC__PII="drop"
            )
            assert done.returncode == 0, done.stdout + done.stderr
        assert list_planted(gateway) == []
        assert count(own_folder, "id IN (1001, 1003, 1005, 1900)") == 0


@pytest.mark.slow
def test_what_a_killed_backfill_has_left_is_removed(own_folder: Path) -> None:
    gateway = plant()
    with Emulator(gateway) as url:
        assert run_vbc(own_folder, url, "sync").returncode == 0
        with suppress(KeyboardInterrupt), hold_part(Target(), "20260101_0123abcd") as part:
            part.extract(only(url, "company_recordings"))
            raise KeyboardInterrupt
        assert Path(part.working_dir).exists()
        done = run_vbc(own_folder, url, "forget", NUMBER, "--apply")
        assert done.returncode == 0, done.stdout + done.stderr
        assert search(own_folder) == []
        assert not Path(part.working_dir).exists()


@pytest.mark.slow
def test_pending_packages_are_loaded_first_and_what_is_not_loaded_is_found_at_vbc(own_folder: Path) -> None:
    gateway = plant()
    with Emulator(gateway) as url:
        assert run_vbc(own_folder, url, "sync").returncode == 0
        gateway.company.add(
            id=1950, start=ago(hours=5), file_size_in_bytes=9, call_id="call-1950-x", caller_id="12025550177"
        )
        pipeline = open_target()
        pipeline.extract(only(url, "company_recordings"))
        pipeline.normalize()
        gateway.company.add(
            id=1960, start=ago(hours=4), file_size_in_bytes=9, call_id="call-1960-x", caller_id="+12025550177"
        )
        dry = run_vbc(own_folder, url, "forget", NUMBER)
        assert "1 load package(s) are pending" in dry.stdout
        done = run_vbc(own_folder, url, "forget", NUMBER, "--apply")
        assert done.returncode == 0, done.stdout + done.stderr
        assert list_planted(gateway) == []
        assert search(own_folder) == []
