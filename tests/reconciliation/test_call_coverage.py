"""The model of calls equals plain counts, by local day, with legs united."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import duckdb
import pytest
import requests
from dashboards import serve_dashboard
from loading import instant, read_database, run_vbc
from test_reconcile import Stand, classes, loaded_stand, query, stand  # noqa: F401 - fixtures

from vbc_source import reconcile

ZONE = "America/New_York"


@pytest.mark.slow
def test_call_coverage_counts_calls_by_local_day_direction_and_user(
    stand: Stand,  # noqa: F811
    own_folder: Path,
) -> None:
    missing = classes(reconcile())["missing"]
    query("CHECKPOINT")
    folder = own_folder / "models"
    folder.mkdir()
    shutil.copy(own_folder / "vbc.duckdb", folder / "vbc.duckdb")
    recorded = "recorded AND id IN (SELECT call_id FROM vbc_data.company_recordings)"
    call = f"SELECT min(id) FROM vbc_data.call_logs WHERE {recorded}"
    with duckdb.connect(str(folder / "vbc.duckdb")) as connection:  # recorded, though nobody answered
        connection.execute(f"UPDATE vbc_data.call_logs SET result = 'Missed' WHERE id = ({call})")
    done = run_vbc(folder, stand.url, "models", "run", "--json", SOURCES__VBC__VBC_TIMEZONE=ZONE)
    assert done.returncode == 0, done.stdout + done.stderr
    columns = "day, account_id, direction, user_name, calls, answered, recorded, missing"
    found = read_database(folder, f"SELECT {columns} FROM vbc_models.call_coverage")
    assert sorted(found, key=repr) == sorted(expect(stand, missing), key=repr)
    shares = "SELECT count(*) FROM vbc_models.call_coverage WHERE recorded_share <> recorded / answered"
    assert read_database(folder, shares) == [(0,)]
    assert all(answered >= recorded for *_, answered, recorded, _ in found)
    check_page(folder, missing)
    tested = run_vbc(folder, stand.url, "models", "test", "--json", SOURCES__VBC__VBC_TIMEZONE=ZONE)
    assert json.loads(tested.stdout.splitlines()[-1])["ok"]


def check_page(folder: Path, missing: set[str]) -> None:
    """The dashboard's page shows the counts of the model and the calls behind them."""
    with serve_dashboard(folder, SOURCES__VBC__VBC_TIMEZONE=ZONE) as url:
        page = requests.get(f"{url}/coverage?days=all", timeout=30)
        figures = requests.get(f"{url}/", timeout=30).text
    assert page.status_code == 200
    assert all(call in page.text for call in missing)
    assert page.text.count("Flagged as recorded, no recording") == len(missing)
    assert 'id="table-call-days"' in page.text
    assert "/coverage" in figures


def expect(stand: Stand, missing: set[str]) -> list[tuple[Any, ...]]:  # noqa: F811
    recorded = {row["call_id"] for row in stand.gateway.company.all()}
    for user in stand.gateway.users.ids():
        recorded |= {row["call_id"] for row in stand.gateway.users.recordings(user).all()}
    legs: dict[str, list[dict[str, Any]]] = {}
    for row in stand.gateway.call_logs.all():
        legs.setdefault(row["id"], []).append(row)
    counts: Counter[tuple[Any, ...]] = Counter()
    for call, rows in legs.items():
        flagged = [row for row in rows if row["recorded"]]
        answered = [row for row in rows if row["result"] == "Answered"]

        def choose(read: Any, flagged: Any = flagged, answered: Any = answered, rows: Any = rows) -> Any:
            values = (min(filter(None, map(read, part)), default=None) for part in (flagged, answered, rows))
            return next(filter(None, values), "")

        start = instant(min(row["start"] for row in rows).replace(" ", "T") + "Z")
        assert start
        key = (
            start.astimezone(ZoneInfo(ZONE)).date(),
            "549825",
            choose(lambda row: row["direction"]),
            choose(lambda row: row[f"{'source' if row['direction'] == 'Outbound' else 'destination'}_user"]),
        )
        for name, holds in zip(
            ("calls", "answered", "recorded", "missing"),
            (True, bool(answered) or call in recorded, call in recorded, call in missing),
            strict=True,
        ):
            counts[(*key, name)] += holds
    keys = {key[:-1] for key in counts}
    names = ("calls", "answered", "recorded", "missing")
    return [(*key, *(counts[(*key, name)] for name in names)) for key in keys]
