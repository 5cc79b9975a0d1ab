"""The notebook runs from top to bottom, and its figures equal plain SQL."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from loading import run_vbc
from raw_counts import RawCounts, query_duckdb
from raw_tables import invent, write_duckdb

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "call_analytics.ipynb"
ZONES = {"demo": "UTC", "crafted": "America/Havana"}  # clocks go back at midnight there
PRINT_FIGURES = """
import json
medians = query("SELECT direction, median(duration_seconds) AS m FROM recordings GROUP BY 1")
print(json.dumps({
    "sums": sums.to_dict(),
    "directions": directions["recordings"].to_dict(),
    "medians": medians.set_index("direction")["m"].to_dict(),
    "hours": [[int(day), int(hour), int(hours.loc[day, hour])] for day in hours.index for hour in hours],
    "extensions": extensions[["account_id", "extension", "recordings"]].to_numpy().tolist(),
}))
"""


def run(folder: Path) -> dict[str, Any]:
    """Run all cells in the folder of a database; returns the figures."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    notebook.cells.append(nbformat.v4.new_code_cell(PRINT_FIGURES))
    NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}}).execute()
    plots = [
        output
        for cell in notebook.cells
        for output in cell.get("outputs", ())
        if "image/png" in output.get("data", {})
    ]
    assert len(plots) == 5
    return dict(json.loads(notebook.cells[-1].outputs[0].text))


def test_notebook_is_stored_without_outputs_and_without_figures_in_its_text() -> None:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    assert all(not cell.get("outputs") and not cell.get("execution_count") for cell in cells)
    words = " ".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    assert not any(sign.isdigit() for sign in words)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["demo", "crafted"])
def test_notebook_figures_equal_plain_sql(own_folder: Path, kind: str) -> None:
    zone = ZONES[kind]
    if kind == "demo":
        assert (
            run_vbc(
                own_folder, "http://127.0.0.1:9", "demo", "--recordings", "2000", "--no-models"
            ).returncode
            == 0
        )
    else:
        write_duckdb(own_folder / "vbc.duckdb", invent(1))
    built = run_vbc(own_folder, "http://127.0.0.1:9", "models", "run", SOURCES__VBC__VBC_TIMEZONE=zone)
    assert built.returncode == 0
    counts = RawCounts(query_duckdb(own_folder), "vbc_data.", zone, complete=kind == "crafted")
    found = run(own_folder)
    assert found["sums"]["days"] == counts.totals()[0]
    hours = counts.group("extract(isodow FROM local), extract(hour FROM local)")
    assert {(day, hour): count for day, hour, count in found["hours"] if count} == hours
    every = RawCounts(query_duckdb(own_folder), "vbc_data.", zone, kind == "crafted", started=False)
    assert found["sums"]["recordings"] == every.totals()[0]
    assert found["directions"] == every.group("direction")
    assert {(account, name): count for account, name, count in found["extensions"]} == every.extensions()
    for direction, median in found["medians"].items():
        assert median == pytest.approx(every.totals(f"direction = '{direction}'")[2])
