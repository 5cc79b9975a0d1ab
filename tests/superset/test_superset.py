"""The dashboard of docs/superset in a real Superset: its charts show what plain SQL counts."""

from __future__ import annotations

import json
import os
import subprocess
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

from loading import start_vbc
from raw_counts import RawCounts, query_postgres
from raw_tables import POSTGRES, invent, own_dataset, write_postgres

ROOT = Path(__file__).parents[2]
SUPERSET = ROOT / ".venv-superset" / "bin"
ZONE = "America/New_York"
TEMPLATE = ROOT / "docs" / "superset" / "vbc"
ADMIN = ("--username", "admin", "--firstname", "A", "--lastname", "B", "--email", "a@example.com")


def pack(folder: Path, models: str) -> Path:
    """Pack the export with the test's database and schema instead of the reader's."""
    packed = folder / "vbc.zip"
    with zipfile.ZipFile(packed, "w") as file:
        for path in TEMPLATE.rglob("*.yaml"):
            text = path.read_text().replace("schema: vbc_models", f"schema: {models}")
            text = text.replace("postgresql+psycopg2://bi@localhost:5432/vbc", POSTGRES)
            file.writestr(f"vbc/{path.relative_to(TEMPLATE)}", text)
    return packed


def run(folder: Path, *command: str) -> str:
    """Run a command of Superset's environment with a database of its own; return what it prints."""
    config = folder / "superset_config.py"
    config.write_text(
        'SECRET_KEY = "of this test only, and never of another"\n'
        f'SQLALCHEMY_DATABASE_URI = "sqlite:///{folder}/superset.db"\n'
        "PREVENT_UNSAFE_DB_CONNECTIONS = False\n"
    )
    changed = {"SUPERSET_CONFIG_PATH": str(config), "SUPERSET_HOME": str(folder), "FLASK_APP": "superset"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **changed},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def sums(rows: list[dict[str, Any]], *names: str) -> Counter[Any]:
    """Return the recordings of the rows by columns."""
    found: Counter[Any] = Counter()
    for row in rows:
        found[tuple(row[name] for name in names)] += int(float(row["recordings"]))
    return found


def test_the_dashboard_imports_and_counts_like_plain_sql(tmp_path: Path) -> None:
    with own_dataset() as dataset:
        write_postgres(dataset, invent(1))
        options = {"SOURCES__VBC__VBC_TIMEZONE": ZONE, "DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
        command = ("models", "run", "--destination", "postgres", "--dataset", dataset)
        built = start_vbc(tmp_path, "http://127.0.0.1:9", *command, **options)
        assert built.returncode == 0, built.stderr
        superset = str(SUPERSET / "superset")
        run(tmp_path, superset, "db", "upgrade")
        run(tmp_path, superset, "fab", "create-admin", *ADMIN, "--password", "any")
        run(tmp_path, superset, "init")
        run(
            tmp_path,
            superset,
            "import-dashboards",
            "-p",
            str(pack(tmp_path, f"{dataset}_models")),
            "-u",
            "admin",
        )
        printed = run(tmp_path, str(SUPERSET / "python"), str(Path(__file__).parent / "read_charts.py"))
        shown = json.loads(printed.splitlines()[-1])
        counts = RawCounts(query_postgres, f"{dataset}.", ZONE, complete=True)
        every = RawCounts(query_postgres, f"{dataset}.", ZONE, complete=True, started=False)
        charts = shown["charts"]
        assert (shown["title"], len(charts)) == ("Call recordings", 7)
        recordings, seconds, _, _ = counts.totals()
        assert int(float(charts["Recordings"][0]["recordings"])) == recordings
        assert round(float(charts["Hours recorded"][0]["hours"]), 3) == round(seconds / 3600, 3)
        assert sums(charts["Recordings by day"], "direction") == {
            (name,): number for name, number in counts.group("direction", "true").items()
        }
        hours = counts.group("extract(isodow FROM local), extract(hour FROM local)", "true")
        assert +sums(charts["Busiest hours, of all time"], "weekday", "hour") == hours
        assert sum(sums(charts["Lengths, of all time"]).values()) == every.totals()[0]
        listed = sums(charts["Extensions; a recording with two counts for both"], "account_id", "extension")
        assert listed == counts.extensions()
        proven = charts["Days proven complete"]
        assert sum(sums(proven, "recording_type").values()) == recordings
