"""Runs that are killed at any moment leave only complete files, and the next run finishes."""

from __future__ import annotations

import subprocess
from contextlib import suppress
from pathlib import Path
from random import Random

import pytest
from archiving import LOCKED, Prepare, S3Bucket, configure, key_of, make_gateway, sound_of
from kills import count_kills
from loading import environment, read_database, run_vbc, vbc

WORKERS = 4


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kills", "where"), [(count_kills(8), "folder"), (count_kills(4), "s3"), (count_kills(2), "locked")]
)
def test_kill_leaves_no_partial_file_and_costs_only_the_downloads_in_flight(
    prepare: Prepare, request: pytest.FixtureRequest, own_folder: Path, kills: int, where: str
) -> None:
    s3: S3Bucket = request.getfixturevalue("locked" if where == "locked" else "s3")
    count = 40 * kills
    gateway = make_gateway(count, size=30_000)
    site = prepare(gateway, bucket=None if where == "folder" else s3.url)
    site.load(shared=True)
    locks = LOCKED if where == "locked" else {}
    settings = {
        **s3.settings(),
        **locks,
        **configure(site.url),
        "SOURCES__VBC__MAX_CONCURRENCY": str(WORKERS),
    }
    expected = {key_of(recording): sound_of(gateway, recording) for recording in gateway.company.all()}
    command = vbc("audio", "--bucket-url", site.bucket)
    random = Random(kills)
    for _ in range(kills):
        before, patience = len(site.fetches()), 1 + random.randrange(40)
        with subprocess.Popen(
            command, cwd=own_folder, env=environment(site.url, own_folder, **settings), stderr=subprocess.PIPE
        ) as process:
            # at a random moment: so many files after the first
            while len(site.fetches()) < before + patience and process.returncode is None:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.01)
            process.kill()
        assert process.returncode in (0, -9), process.stderr
        found = (
            s3_files(s3)
            if where != "folder"
            else {name: body for name, body in site.files().items() if not name.startswith(".incoming/")}
        )
        assert all(expected[name] == body for name, body in found.items())
    done = run_vbc(own_folder, site.url, "audio", "--bucket-url", site.bucket, **settings)
    assert done.returncode == 0, done.stderr
    assert len(site.fetches()) <= count + kills * WORKERS
    rows = read_database(
        own_folder,
        "SELECT status, count(*), count(DISTINCT recording_id) FROM vbc_data.recording_audio GROUP BY 1",
    )
    assert rows == [("stored", count, count)]


def s3_files(s3: S3Bucket) -> dict[str, bytes]:
    return {key.removeprefix("recordings/"): s3.read(key) for key in s3.sizes()}
