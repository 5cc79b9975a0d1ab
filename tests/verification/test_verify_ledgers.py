"""Verification together with the archive, retention and another destination."""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from archiving import make_gateway
from loading import expected_recordings, open_target, still_gateway
from verification_cases import Prepare, Stand, ago, oldest
from warehouses import POSTGRES, has_postgres

from vbc_source import verify_custody
from vbc_source.audio.archive_audio import archive_audio
from vbc_source.retention.apply import apply_retention
from vbc_source.retention.plan import plan_retention
from vbc_source.retention.retain import retain


@pytest.fixture
def dataset(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    if not has_postgres():
        pytest.skip("no Postgres at 127.0.0.1:5432")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
    name = f"vbc_{uuid.uuid4().hex[:8]}"
    yield name
    with open_target("vbc", "postgres", name).sql_client() as sql:
        sql.drop_dataset()
        with sql.with_staging_dataset():
            sql.drop_dataset() if sql.has_dataset() else None


@pytest.mark.slow
def test_archived_recordings_and_those_without_audio_are_counted(prepare: Prepare, own_folder: Path) -> None:
    stand = prepare(make_gateway(5), "company_recordings")
    archive_audio(bucket_url=str(own_folder / "files"), limit=3)
    outcome = stand.verify()
    assert (outcome.ok, outcome.without_audio) == (True, 2)
    assert [(total.loaded, total.archived) for total in outcome.totals] == [(5, 3)]


@pytest.mark.slow
def test_recordings_that_retention_deleted_are_confirmed_marked_and_chained(
    prepare: Prepare, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand = prepare(make_gateway(5), "company_recordings")
    bucket = str(own_folder / "files")
    monkeypatch.setenv("SOURCES__VBC__AUDIO__BUCKET_URL", bucket)
    archive_audio(bucket_url=bucket, limit=3)
    assert retain(older_than=timedelta(days=1), bucket_url=bucket, apply=True).deleted == 3
    assert stand.verify().gone == 3
    done = stand.verify(repair=True)
    assert (done.ok, done.tombstoned, done.without_audio) == (True, 3, 2)
    assert len(stand.current()) == 2
    assert len(list((own_folder / "files" / "custody" / "heads" / "vbc_verify").iterdir())) == 1
    chained = verify_custody()
    assert (chained.ok, chained.heads, chained.problems) == (True, 2, ())


@pytest.mark.slow
def test_audio_that_a_policy_deleted_is_not_to_be_archived(prepare: Prepare, own_folder: Path) -> None:
    stand = prepare(make_gateway(5), "company_recordings")
    bucket = str(own_folder / "files")
    archive_audio(bucket_url=bucket, limit=3)
    Path("retention.toml").write_text(
        '[[rules]]\nname = "all"\nolder_than_days = 1\nactions = ["delete_at_vbc", "delete_archive"]\n'
    )
    plan_retention(out=Path("plan.json"), bucket_url=bucket)
    assert apply_retention(plan=Path("plan.json"), bucket_url=bucket).erased == 3
    assert (stand.verify().gone, stand.verify().without_audio) == (3, 2)


@pytest.mark.slow
def test_postgres_is_compared_and_repaired_as_well(prepare: Prepare, dataset: str) -> None:
    stand = prepare(still_gateway(recordings=200, users=2, user_recordings=20), load=False)
    stand = Stand(stand.gateway, stand.url, "postgres", dataset)
    stand.sync()
    gone = oldest(stand.gateway, 50)
    stand.gateway.company.delete(gone)
    stand.add_late(1)
    stand.add_late(2)
    assert stand.verify().missing == 2
    done = stand.verify(repair=True)
    assert (done.ok, done.loaded, done.tombstoned) == (True, 2, 1)
    assert stand.tombstones() == [("company", "", gone)]
    assert stand.current() == {row[1] for row in expected_recordings(stand.gateway)}
    stand.gateway.company.add(id=gone, start=ago(50), duration=1000)
    stand.gateway.company.add(id=3, start=ago(0.1), duration=1000, new_field="x")
    stand.sync()  # the view does not prevent a new column
    back = stand.verify(deep=True, repair=True)
    assert (back.ok, back.returned, back.gaps) == (True, 1, ())
    assert stand.current() == {row[1] for row in expected_recordings(stand.gateway)}
    assert os.environ["DESTINATION__POSTGRES__CREDENTIALS"] == POSTGRES
