"""A month on one page, as a file of its own: the dashboard's figures, by the same templates."""

from __future__ import annotations

import os
from calendar import monthrange
from datetime import date, timedelta
from pathlib import Path

from vbc_source.dashboard import pages
from vbc_source.dashboard.app import open_database
from vbc_source.dashboard.filters import PageFilters
from vbc_source.errors import UsageError, VbcError
from vbc_source.load.destinations import Target


def write_report(target: Target, output: Path, month: str | None = None) -> str:
    """Write the figures of a month as HTML, readable by this account alone; return the month.

    Args:
        target: Where the recordings are loaded.
        output: The file, replaced if it exists.
        month: Such as `2025-03`; by default the last one that is over.

    Raises:
        UsageError: The month or the file's name is not usable.
        VbcError: There are no figures.
    """
    if output.suffix.lower() == ".pdf":
        raise UsageError(
            f"the report is HTML: write {output.with_suffix('.html')} and print it from a browser, or with "
            "chromium --headless --print-to-pdf"
        )
    database = open_database(target)
    first = _read_month(month) if month else _find_last_month(database.today())
    with database.open() as figures:
        options = figures.read_options(database.today()) if figures.have_models() else None
        if options is None:
            raise VbcError("there are no figures to report: run vbc sync, then vbc models run")
        last = first.replace(day=monthrange(first.year, first.month)[1])
        view = pages.build_figures(figures, options, PageFilters(first, last))
    style = (pages.TEMPLATES / "style.css").read_text()
    view |= {"links": False, "month": f"{first:%B %Y}", "style": style}
    text = pages.open_templates().get_template("report.html").render(view=view)
    # names of people are in it
    with open(os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        file.write(text)
    return f"{first:%Y-%m}"


def _read_month(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise UsageError(f"--month must be a month such as 2025-03, not {text[:20]!r}") from None


def _find_last_month(today: date) -> date:
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1)
