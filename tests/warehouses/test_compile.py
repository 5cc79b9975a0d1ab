"""The models compile for warehouses that no test can reach, to SQL that a parser of their dialect reads."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import sqlglot

HERE = Path(__file__).parent
MODELS = HERE.parents[1] / "vbc_source" / "analytics" / "dbt" / "models"
# what only DuckDB and Postgres have, and what the others have in its place
ELSEWHERE = r"generate_series|unnest\(|\bas materialized\b"
FOREIGN = {
    "snowflake": rf"{ELSEWHERE}|at time zone|isodow| ~ ",
    "bigquery": rf"{ELSEWHERE}|at time zone|isodow| ~ |with time zone|double precision|within group",
    "redshift": rf"{ELSEWHERE}|isodow|is distinct from|concat_ws",
}
INSTANTS = {"snowflake": "convert_timezone(", "bigquery": "datetime(started_at,", "redshift": "at time zone"}


@pytest.mark.parametrize("kind", FOREIGN)
def test_the_models_compile_for_a_warehouse(kind: str, tmp_path: Path) -> None:
    """With all raw tables, and with the model `recordings` there already: its update compiles too."""
    program = [sys.executable, str(HERE / "compile_models.py"), kind, str(tmp_path)]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    compiled = {
        path.stem: path.read_text()
        for path in (tmp_path / "compiled" / "vbc_source" / "models").rglob("*.sql")
        if path.is_file() and not path.parent.name.endswith(".yml")
    }
    assert set(compiled) == {path.stem for path in MODELS.rglob("*.sql")}
    for name, text in compiled.items():
        assert re.findall(FOREIGN[kind], text, re.IGNORECASE) == [], name
        sqlglot.parse_one(text, dialect=kind, error_level=sqlglot.ErrorLevel.RAISE)
    assert INSTANTS[kind] in compiled["vbc__daily_directions"]
    assert "full join" in compiled["vbc__recordings"]
