"""The metrics, queried by MetricFlow, equal plain SQL on the loaded tables."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb

PROJECT = Path(__file__).parents[2] / "vbc_source" / "analytics" / "dbt"
BIN = Path(sys.executable).parent
# 1,200 calls over a year with two clock changes; every third is archived, every seventh has no length
RAW = """
CREATE SCHEMA vbc_data;
CREATE TABLE vbc_data.company_recordings AS
    SELECT '9' AS account_id, range AS id, 'INBOUND' AS call_direction,
        CASE WHEN range % 7 > 0 THEN range * 1000 END AS duration,
        TIMESTAMPTZ '2025-03-01 00:00:00+00' + INTERVAL 7 HOUR * range AS start
    FROM range(1200);
CREATE TABLE vbc_data.recording_audio AS
    SELECT account_id, 'company' AS recording_type, '' AS user_id, id AS recording_id, 'stored' AS status
    FROM vbc_data.company_recordings WHERE id % 3 = 0;
"""
BY_MONTH = """
SELECT CAST(date_trunc('month', start AT TIME ZONE 'America/New_York') AS DATE) AS month, count(*),
    sum(coalesce(duration, 0)) / 3600000.0, count(*) FILTER (id % 3 = 0) / count(*)
FROM vbc_data.company_recordings GROUP BY 1 ORDER BY 1
"""


def run(folder: Path, *command: str) -> None:
    environment = {**os.environ, "DBT_PROFILES_DIR": str(folder), "DO_NOT_TRACK": "1"}
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_metrics_by_month_equal_plain_sql(tmp_path: Path) -> None:
    folder = tmp_path / "dbt"
    shutil.copytree(PROJECT, folder)
    database = tmp_path / "vbc.duckdb"
    with duckdb.connect(str(database)) as connection:
        connection.execute(RAW)
        connection.execute("SET TimeZone = 'UTC'")
        expected = connection.execute(BY_MONTH).fetchall()
    output = {"type": "duckdb", "path": str(database), "schema": "vbc_models"}
    profile = {"vbc_source": {"target": "here", "outputs": {"here": output}}}
    (folder / "profiles.yml").write_text(json.dumps(profile))
    project = folder / "dbt_project.yml"
    project.write_text(project.read_text().replace("vbc_timezone: UTC", "vbc_timezone: America/New_York"))
    run(folder, "dbt", "--no-send-anonymous-usage-stats", "--no-version-check", "run")
    metrics = ("--metrics", "recordings,hours,archived_share")
    month = "metric_time__month"
    run(folder, "mf", "query", *metrics, "--group-by", month, "--order", month, "--csv", "out.csv")
    with (folder / "out.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row[month][:10] for row in rows] == [f"{row[0]}" for row in expected]
    assert [int(row["recordings"]) for row in rows] == [row[1] for row in expected]
    for row, (_, _, hours, archived) in zip(rows, expected, strict=True):
        assert abs(float(row["hours"]) - float(hours)) < 1e-9
        assert abs(float(row["archived_share"]) - archived) < 1e-12
    assert len(rows) == 13  # the first call was in February, in New York
