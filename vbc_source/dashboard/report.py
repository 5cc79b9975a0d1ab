"""A month on one page, as a file of its own: the dashboard's figures, by the same templates."""

from __future__ import annotations

import logging
from calendar import monthrange
from datetime import date, timedelta
from pathlib import Path

from vbc_source.dashboard import pages
from vbc_source.dashboard.app import open_database
from vbc_source.dashboard.filters import PageFilters
from vbc_source.errors import UsageError, VbcError
from vbc_source.load.destinations import Target
from vbc_source.private_files import open_private

log = logging.getLogger(__name__)


def write_report(target: Target, output: Path, month: str | None = None) -> tuple[str, int]:
    """Write the figures of a month as HTML, readable by this account alone.

    Args:
        target: Where the recordings are loaded.
        output: The file, replaced if it exists.
        month: Such as `2025-03`; by default the last one that is over.

    Returns:
        The month, and how many recordings it has.

    Raises:
        UsageError: The month is in the future, or the month or the file's name is not usable.
        VbcError: There are no figures.
    """
    if output.suffix.lower() == ".pdf":
        raise UsageError(
            f"the report is HTML: write {output.with_suffix('.html')} and print it from a browser, or with "
            "chromium --headless --print-to-pdf"
        )
    database = open_database(target)
    today = database.today()
    first = _read_month(month) if month else _find_last_month(today)
    if first > today:
        raise UsageError(f"--month {first:%Y-%m} is in the future")
    with database.open() as figures:
        options = figures.read_options(today) if figures.have_models() else None
        if options is None:
            raise VbcError("there are no figures to report: run vbc sync, then vbc models run")
        last = first.replace(day=monthrange(first.year, first.month)[1])
        view = pages.build_figures(figures, options, PageFilters(first, last))
    # put into the file, which must need no other
    style = (pages.TEMPLATES / "style.css").read_text()
    view |= {"links": False, "month": f"{first:%B %Y}", "style": style}
    text = pages.open_templates().get_template("report.html").render(view=view)
    # names of people are in it
    with open(open_private(output), "w", encoding="utf-8") as file:
        file.write(text)
    recordings = int(view["recordings"])
    if not recordings:
        log.warning(
            "the models have no recordings of %s: they reach from %s to %s",
            f"{first:%Y-%m}",
            options.earliest,
            options.latest,
        )
    return f"{first:%Y-%m}", recordings


def _read_month(text: str) -> date:
    try:
        return date.fromisoformat(f"{text}-01")
    except ValueError:
        raise UsageError(f"--month must be a month such as 2025-03, not {text[:20]!r}") from None


def _find_last_month(today: date) -> date:
    return (today.replace(day=1) - timedelta(days=1)).replace(day=1)
