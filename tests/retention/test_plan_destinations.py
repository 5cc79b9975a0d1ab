"""Plans mean the same where rows are only appended, and in a database that others share."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from archiving import Prepare, make_gateway
from plans import ERASE, PLAN
from warehouses import POSTGRES, Warehouse, has_postgres

from vbc_source import apply_retention, archive_audio, plan_retention, sync
from vbc_source.warehouse.queries import LoadedTables

RULES = """
[[rules]]
name = "rule-and-extension"
rule_ids = [77]
extensions = ["101"]
actions = ["keep"]

[[rules]]
name = "user"
users = ["7"]
actions = ["keep"]
"""


@pytest.mark.slow
@pytest.mark.parametrize("destination", ["postgres", "filesystem"])
def test_a_plan_is_made_and_applied_elsewhere(
    prepare: Prepare, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    if destination == "postgres" and not has_postgres():
        pytest.skip("no Postgres at 127.0.0.1:5432")
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", os.path.abspath("lake"))
    gateway = make_gateway(5)
    gateway.company.change(1000, rule_ids=[77], extensions=["100", "101"])
    gateway.company.change(1001, rule_ids=[77], extensions=["100"])
    site = prepare(gateway, SOURCES__VBC__START_DATE="2020-01-01", SOURCES__VBC__USER_IDS="[]")
    place = Warehouse(destination, destination)
    options: dict[str, Any] = {"target": place.target, "bucket_url": site.bucket}
    try:
        sync(place.target)
        Path("retention.toml").write_text(RULES + ERASE)
        plan = plan_retention(out=PLAN, **options)  # before anything is archived
        assert plan.rules["all"] == {"keep": 4}
        assert [*plan.reasons] == ["it is not archived: run vbc audio"]
        assert archive_audio(**options).stored == 5
        Path("hold.txt").write_text("1004")
        Path("retention.toml").write_text('hold = "hold.txt"\n' + RULES + ERASE)
        plan = plan_retention(out=PLAN, **options)
        assert plan.rules == {
            "rule-and-extension": {"keep": 1},
            "user": {"keep": 0},
            "all": {"delete_at_vbc": 3, "delete_archive": 3, "keep": 1},
        }
        done = apply_retention(plan=PLAN, **options)
        assert (done.deleted, done.erased, done.ok) == (3, 3, True)
        again = apply_retention(plan=PLAN, **options)
        assert (again.done, again.ok) == (6, True)
        Path("hold.txt").write_text("1000")
        after = plan_retention(**options)
        assert after.rules["all"] == {"delete_at_vbc": 1, "delete_archive": 1, "keep": 3}
        assert archive_audio(**options).stored == 0
        loaded = LoadedTables(place.target)
        holds = "SELECT DISTINCT recording_id, CAST(released_at IS NULL AS INTEGER) FROM recording_holds"
        assert {(1000, 1), (1004, 0)} <= set(loaded.query(holds))
    finally:
        if destination == "postgres":
            with place.open().sql_client() as sql:
                sql.drop_dataset()
