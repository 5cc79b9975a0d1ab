"""The dashboard in a real browser: figures equal plain SQL, filters work, and it is accessible."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import pytest
from axe_playwright_python.sync_playwright import Axe
from dashboards import follow, open_browser, serve_dashboard
from loading import run_vbc
from raw_counts import RawCounts, query_duckdb, query_postgres
from raw_tables import POSTGRES, invent, own_dataset, write_duckdb, write_postgres

from vbc_source.dashboard.charts import format_count, format_duration, format_share

pytestmark = pytest.mark.slow  # a browser, and models built by dbt

ZONE = "America/New_York"
ENVIRONMENT = {"SOURCES__VBC__VBC_TIMEZONE": ZONE, "DESTINATION__POSTGRES__CREDENTIALS": POSTGRES}
DEMO = {"SOURCES__VBC__VBC_TIMEZONE": "UTC", "RUNTIME__DLTHUB_TELEMETRY": "false"}


@contextmanager
def crafted(kind: str, folder: Path) -> Iterator[tuple[str, RawCounts]]:
    """Serve the invented tables; yields the URL, and plain SQL to compare with."""
    tables = invent(1)
    with own_dataset() as dataset:
        if kind == "duckdb":
            write_duckdb(folder / "vbc.duckdb", tables)
            counts = RawCounts(query_duckdb(folder), "vbc_data.", ZONE, complete=True)
            options: tuple[str, ...] = ()
        else:
            write_postgres(dataset, tables)
            counts = RawCounts(query_postgres, f"{dataset}.", ZONE, complete=True)
            options = ("--destination", "postgres", "--dataset", dataset)
        with serve_dashboard(folder, *options, **ENVIRONMENT) as url:
            yield url, counts


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Load the demo and build its models."""
    folder = tmp_path_factory.mktemp("demo")
    for command in (("demo", "--recordings", "3000", "--no-models"), ("models", "run")):
        url = "http://127.0.0.1:9"
        done = run_vbc(folder, url, *command, **DEMO)
        assert done.returncode == 0, done.stderr
        if command[0] == "demo":
            assert "marked 1 as gone" in done.stdout, done.stdout + done.stderr
    add_calls(folder)
    return folder


def add_calls(folder: Path) -> None:
    """Write 40 days of calls, as the models and `vbc reconcile` would: two are missing, one has no log."""
    with duckdb.connect(str(folder / "vbc.duckdb")) as connection:
        connection.execute(
            "INSERT INTO vbc_models.call_coverage BY NAME SELECT day, '549825' AS account_id, 'Inbound' AS "
            "direction, 'ada' AS user_name, 10 AS calls, 8 AS answered, 7 AS recorded, "
            "7 / 8 AS recorded_share, CASE WHEN day = newest THEN 2 ELSE 0 END AS missing FROM ("
            "SELECT DISTINCT day, max(day) OVER () AS newest FROM vbc_models.coverage WHERE proven_at IS NOT "
            "NULL ORDER BY day DESC LIMIT 40)"
        )
        connection.execute(
            "CREATE TABLE vbc_data.call_gaps AS SELECT '549825' AS account_id, kind AS class, "
            'kind || number AS call_id, max("start") - INTERVAL 3 DAY AS "start", \'Inbound\' AS direction, '
            "'1017' AS extension, max(\"start\") AS noted_at, CAST(NULL AS TIMESTAMPTZ) AS closed_at "
            "FROM vbc_data.company_recordings, "
            "(VALUES ('missing', 1), ('missing', 2), ('without_call', 1)) AS gaps(kind, number) "
            "GROUP BY kind, number"
        )


@pytest.fixture(scope="module")
def served(demo: Path) -> Iterator[str]:
    with serve_dashboard(demo, **DEMO) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with open_browser() as opened:
        yield opened


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that records every request and every message of the browser's console."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    page = context.new_page()
    page.requests, page.messages = [], []
    page.on("request", lambda request: page.requests.append(request.url))
    page.on("console", lambda message: page.messages.append(message.text))
    page.on("pageerror", lambda error: page.messages.append(str(error)))
    yield page
    context.close()


def number(text: str) -> float:
    return float(text.replace(",", ""))


def read_table(page: Any, name: str) -> list[list[str]]:
    """Return the cells of a table's body, also where it is folded."""
    rows: list[list[str]] = page.eval_on_selector_all(
        f"#{name} tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.textContent.trim()))"
    )
    return rows


def assert_figures(page: Any, counts: RawCounts, where: str) -> None:
    """Every figure of the page equals plain SQL on the raw rows that match a condition."""
    recordings, seconds, median, p90 = counts.totals(where)
    if not recordings:
        assert page.get_by_text("No recordings match these filters").is_visible()
    shown = {
        key: page.locator(f"#total-{key} .figure").inner_text()
        for key in ("recordings", "hours", "median", "p90")
    }
    assert shown == {
        "recordings": f"{recordings:,}",
        "hours": f"{seconds / 3600:,.1f}",
        "median": format_duration(median),
        "p90": format_duration(p90),
    }, where
    if not recordings:
        return
    names = page.eval_on_selector_all("#table-over-time thead th", "cells => cells.map(c => c.textContent)")
    names = [name for name in names[1:-1] if name not in ("Before", "Proven")]
    columns = read_table(page, "table-over-time")
    assert sum(number(row[-1]) for row in columns) == recordings
    titles = {"INBOUND": "Inbound", "OUTBOUND": "Outbound", "INTRA_PBX": "Internal", "UNKNOWN": "Unknown"}
    directions = {titles[name]: count for name, count in counts.group("direction", where).items()}
    assert {
        name: sum(number(row[1 + place]) for row in columns) for place, name in enumerate(names)
    } == directions
    if len(columns) > 1 and page.locator("#table-over-time thead th").first.inner_text() == "Day":
        days = counts.group("CAST(local AS date)", where)
        found = {row[0].split(" ", 1)[1]: number(row[-1]) for row in columns if row[-1] != "0"}
        assert found == {f"{day.day} {day:%b %Y}": count for day, count in days.items()}
    lengths = {row[0]: number(row[1]) for row in read_table(page, "table-lengths")}
    assert lengths["unknown"] == counts.totals(f"({where}) AND seconds IS NULL")[0]
    assert lengths["1 to 2 min"] == counts.totals(f"({where}) AND seconds >= 60 AND seconds < 120")[0]
    assert sum(lengths.values()) == recordings
    heat = read_heat(page)
    hours = counts.group("extract(isodow FROM local), extract(hour FROM local)", where)
    assert {place: count for place, count in heat.items() if count} == hours
    extensions = counts.extensions(where)
    top = {
        read_extension(row[0]): number(row[1]) for row in read_table(page, "table-extensions") if len(row) > 1
    }
    assert top.items() <= extensions.items()
    assert sorted(top.values()) == sorted(extensions.values())[-10:]


def read_heat(page: Any) -> dict[tuple[int, int], int]:
    """Return the sums behind the averages, by weekday and hour; each average is its sum by its weekdays."""
    cells = page.eval_on_selector_all(
        "#table-hours tbody tr",
        "rows => rows.map(row => [...row.cells].slice(1).map(cell => +cell.dataset.recordings))",
    )
    return {(day, hour): count for hour, row in enumerate(cells) for day, count in enumerate(row, 1)}


def read_extension(text: str) -> tuple[str, str]:
    """Return account and extension; the page names the account where there are several."""
    account = re.search(r"account (\w+)", text)
    return account.group(1) if account else "549825", re.match("[0-9]+", text).group()  # type: ignore[union-attr]


@pytest.mark.parametrize("kind", ["duckdb", "postgres"])
def test_figures_equal_plain_sql_with_every_filter(own_folder: Path, page: Any, kind: str) -> None:
    with crafted(kind, own_folder) as (url, counts):
        page.goto(f"{url}/?days=all")
        assert_figures(page, counts, "true")
        whole = page.locator("#total-recordings .figure").inner_text()
        archived = counts.totals(counts.archived())[0]
        shown = page.locator("#health-archived").inner_text()
        assert shown.startswith(format_share(archived, counts.totals("true")[0]))
        assert page.locator("#table-extensions").get_by_text("Emil Quillfeather").is_visible()
        for field, value, where in (
            ("account", "549826", "account_id = '549826'"),
            ("direction", "UNKNOWN", "direction = 'UNKNOWN'"),
            ("extension", "1016", counts.having("1016")),
            ("type", "user", "type = 'user'"),
            ("weekday", "7", "extract(isodow FROM local) = 7"),
            ("hour", "1", "extract(hour FROM local) = 1"),
            ("length", "10", "seconds IS NULL"),
        ):
            page.goto(f"{url}/?days=all")
            page.locator("summary", has_text="Filters").click()
            page.select_option(f"#{field}", value)
            follow(page, page.get_by_role("button", name="Show"))
            assert page.url == f"{url}/?days=all&{field}={value}"
            assert page.locator(f"#{field}").input_value() == value
            assert page.locator("a.chip").count() == 1
            assert_figures(page, counts, where)
            assert page.locator("#total-recordings .figure").inner_text() != whole, field
        for first, last in (
            ("2025-03-08", "2025-03-10"),
            ("2025-11-01", "2025-11-03"),
            ("2025-11-02", "2025-11-02"),
        ):
            page.goto(url)
            page.locator("summary", has_text="Filters").click()
            page.fill("#from", first)
            page.fill("#to", last)
            follow(page, page.get_by_role("button", name="Show"))
            assert_figures(page, counts, f"CAST(local AS date) BETWEEN '{first}' AND '{last}'")
    assert all(address.startswith((url, "data:")) for address in page.requests)
    assert page.messages == []


def test_figures_list_and_export_of_the_demo_equal_plain_sql(demo: Path, served: str, page: Any) -> None:
    counts = RawCounts(query_duckdb(demo), "vbc_data.", "UTC", complete=False)
    page.goto(f"{served}/?days=all")
    assert_figures(page, counts, "true")
    ((proven,),) = query_duckdb(demo)(
        "SELECT count(*) FROM (SELECT day FROM vbc_models.coverage WHERE day >= (SELECT min(day) "
        "FROM vbc_models.coverage WHERE recordings > 0) GROUP BY day HAVING count(*) = count(proven_at) "
        "AND count(*) = (SELECT count(DISTINCT recording_type) FROM vbc_models.coverage))"
    )
    days = (
        date.fromisoformat(page.locator("#to").input_value())
        - date.fromisoformat(page.locator("#from").input_value())
    ).days + 1
    unproven = f"{format_count(days - proven, 'day')} not proven" if proven < days else "every day proven"
    assert page.locator("#health-proven").inner_text() == unproven
    page.goto(f"{served}/?days=91&direction=INBOUND")
    first, last = page.locator("#from").input_value(), page.locator("#to").input_value()
    where = f"direction = 'INBOUND' AND CAST(local AS date) BETWEEN '{first}' AND '{last}'"
    assert_figures(page, counts, where)
    recordings = counts.totals(where)[0]
    days = (f"CAST('{day}' AS date) - 91" for day in (first, last))
    before = counts.totals("direction = 'INBOUND' AND CAST(local AS date) BETWEEN " + " AND ".join(days))[0]
    change = page.locator("#total-recordings .change").inner_text()
    assert change.replace("−", "-").startswith(f"{100 * (recordings - before) / before:+.1f}")
    follow(page, page.locator("#table-lengths tr", has_text="1 to 2 min").locator("td a"))
    behind = counts.totals(f"{where} AND seconds >= 60 AND seconds < 120")[0]
    assert page.locator("h1").inner_text().startswith(f"{behind:,} recording")
    with page.expect_download() as waiting:
        page.get_by_role("link", name="Export as CSV").click()
    with open(waiting.value.path(), newline="") as file:
        rows = list(csv.DictReader(file))
    ids = {
        id_
        for (id_,) in counts.select("SELECT id FROM current", f"{where} AND seconds >= 60 AND seconds < 120")
    }
    assert (len(rows), {int(row["recording_id"]) for row in rows}) == (behind, ids)
    assert all(address.startswith((served, "data:")) for address in page.requests)


def test_each_figure_links_to_its_recordings(served: str, page: Any) -> None:
    for table, cell in (("table-lengths", 1), ("table-extensions", 1), ("table-over-time", -1)):
        page.goto(f"{served}/?days=all")
        page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
        row = read_table(page, table)[3]
        follow(page, page.locator(f"#{table} tbody tr").nth(3).locator("td a").first)
        assert page.locator("h1").inner_text().split()[0] == row[cell]
    page.goto(f"{served}/?days=all")
    link = page.locator("#table-hours td a").first
    shown = page.locator("#table-hours td:has(a)").first.get_attribute("data-recordings")
    follow(page, link)
    assert page.locator("h1").inner_text().split()[0] == shown
    page.goto(f"{served}/recordings?days=all")
    seen = page.locator("tbody tr").count()
    while page.get_by_role("link", name="Next").count():
        follow(page, page.get_by_role("link", name="Next"))
        seen += page.locator("tbody tr").count()
    assert f"{seen:,}" == page.locator("h1").inner_text().split()[0]


def test_calls_are_counted_on_the_first_page_and_narrowed_by_period_and_account(
    served: str, page: Any
) -> None:
    page.goto(f"{served}/?days=7")
    assert page.locator("#calls-recorded").inner_text() == "49 of 56 (87.5 %)"
    assert page.locator("#calls-missing").inner_text() == "2 calls"
    follow(page, page.get_by_role("link", name="Calls by day and user"))
    assert page.url == f"{served}/coverage?days=7"
    assert read_table(page, "table-call-days")[0] == ["All", "70", "56", "49", "87.5 %", "2"]
    assert len(read_table(page, "table-call-days")) == 8
    assert len(read_table(page, "table-gaps")) == 3
    follow(page, page.get_by_role("link", name="28 days"))
    assert read_table(page, "table-call-users") == [
        ["ada", "Inbound", "280", "224", "196", "87.5 %", "2"],
    ]
    page.locator("summary", has_text="Filters").click()
    assert page.locator(".fields select").count() == 1
    page.select_option("#account", "549825")
    follow(page, page.get_by_role("button", name="Show"))
    assert page.url.endswith("&account=549825")
    follow(page, page.locator("a.chip"))
    assert page.url == f"{served}/coverage"
    page.goto(f"{served}/coverage?days=7&hour=3")
    assert page.get_by_text("do not count here: hour.").is_visible()
    assert read_table(page, "table-call-days")[0][1] == "70"
    follow(page, page.get_by_role("link", name="Figures", exact=True))
    assert page.url == f"{served}/?days=7&hour=3"


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_pages_fit_the_window_and_have_no_accessibility_violations(
    served: str, browser: Any, width: int, scheme: str
) -> None:
    axe = Axe()
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    for path in (
        "/",
        "/?days=all&direction=INBOUND",
        "/recordings?days=all&archived=yes&sort=-length",
        "/users",
        "/extensions",
        "/coverage",
        "/coverage?days=all&account=549825&hour=3",
        "/coverage?from=1999-01-01&to=1999-01-02",
        "/search",
        "/?days=7&hour=3&weekday=7&direction=INTRA_PBX",
        "/?days=8",
    ):
        page.goto(served + path)
        page.eval_on_selector_all("details", "all => all.forEach(each => each.open = true)")
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(15, 20, 26)"
        assert dark == (scheme == "dark")
        found = axe.run(page)
        assert found.violations_count == 0, f"{path}: {found.generate_report()}"
        assert {"banner", "main", "contentinfo", "search"} <= landmarks(page)
    for path in ("/", "/recordings?days=all", "/extensions"):  # long names and numbers stay in their places
        page.goto(served + path)
        for place, text in (
            ("small", "Wolfeschlegelsteinhausen" * 3),
            (".figure", "123,456,789,012 h 59 min"),
        ):
            page.eval_on_selector_all(
                place, "(all, text) => all.forEach(each => each.textContent = text)", text
            )
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        wide = "all => all.filter(each => each.scrollWidth > each.clientWidth + 1).map(each => each.id)"
        assert page.eval_on_selector_all(".card, td, dd", wide) == []
    page.fill("#q", "1017")
    page.keyboard.press("Enter")
    page.locator("#found").wait_for()
    assert page.locator("tbody tr").count() > 3
    assert axe.run(page).violations_count == 0
    page.goto(f"{served}/recordings?days=all&archived=yes")
    follow(page, page.locator("tbody a").first)
    page.locator("audio").wait_for()
    found = axe.run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.close()


def landmarks(page: Any) -> set[str]:
    roles = ("banner", "main", "contentinfo", "search", "navigation")
    return {role for role in roles if page.get_by_role(role).count()}


def test_every_control_is_reachable_and_usable_by_keyboard(served: str, page: Any) -> None:
    for path in ("/?days=91&hour=9", "/coverage", "/users", "/recordings?days=all&archived=yes"):
        page.goto(served + path)
        page.locator("summary", has_text="Filters").click()
        assert_reachable(page)
    follow(page, page.locator("tbody a").first)
    page.locator("audio").wait_for()
    assert_reachable(page)
    page.fill("#q", "1017")
    page.keyboard.press("Enter")
    page.locator("#found").wait_for()
    assert_reachable(page)
    page.goto(f"{served}/recording/nothing")
    assert_reachable(page)
    page.goto(f"{served}/?days=91")
    page.locator("summary", has_text="Filters").focus()
    page.keyboard.press("Enter")
    page.locator("#direction").focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Show").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**direction=INBOUND**")
    assert landmarks(page) == {"banner", "main", "contentinfo", "search", "navigation"}


def assert_reachable(page: Any) -> None:
    """Tab through a page: every control that is visible gets the focus."""
    controls = "a[href]:not([tabindex='-1']), button, input, select, summary, audio"
    page.evaluate("document.activeElement.blur()")
    reached = []
    for _ in range(page.locator(controls).count() + 20):
        page.keyboard.press("Tab")
        name = page.evaluate(
            "() => {const each = document.activeElement; each.dataset.seen = 1;"
            "return each === document.body ? '' : each.id || each.textContent.trim()}"
        )
        reached.append(name)
    assert "Skip to the figures" in reached
    missed = page.eval_on_selector_all(
        controls,
        "all => all.filter(each => !each.dataset.seen && each.checkVisibility()).map(each => each.outerHTML)",
    )
    assert missed == []


def test_a_list_is_exported_by_keyboard_alone(served: str, page: Any) -> None:
    page.goto(f"{served}/recordings?days=all&archived=yes")
    shown = int(page.locator("h1").inner_text().split()[0])
    tab_to(page, "document.activeElement.pathname === '/recordings.csv'")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    with open(waiting.value.path(), newline="", encoding="utf-8-sig") as file:
        assert len(list(csv.DictReader(file))) == shown


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_errors_and_the_report_have_no_accessibility_violations(
    demo: Path, served: str, browser: Any, width: int, scheme: str
) -> None:
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    ((missing,),) = query_duckdb(demo)(
        "SELECT min(recording_key) FROM vbc_models.recordings WHERE NOT archived"
    )
    for path, status in (
        ("/?days=12", 400),
        ("/recording/nothing", 404),
        ("/no/such/page", 404),
        (f"/recording/{missing}", 200),  # without audio
    ):
        assert page.goto(served + path).status == status
        assert_accessible(page, width)
    page.goto(served)
    page.fill("#q", "+")
    page.keyboard.press("Enter")
    page.locator("[role=status]").wait_for()
    assert_accessible(page, width)
    with duckdb.connect(str(demo / "vbc.duckdb")):
        assert page.goto(served).status == 503
        assert_accessible(page, width)
    page.locator("#total-recordings").wait_for()  # it tries again by itself
    assert run_vbc(demo, "http://127.0.0.1:9", "report", "--out", "report.html", **DEMO).returncode == 0
    page.goto((demo / "report.html").as_uri())
    assert_accessible(page, width)
    page.close()


def assert_accessible(page: Any, width: int) -> None:
    """The page fits the window, and axe finds nothing."""
    assert page.evaluate("document.documentElement.scrollWidth") <= width, page.url
    found = Axe().run(page)
    assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"


def test_a_recording_is_found_and_played_by_keyboard_alone(served: str, page: Any) -> None:
    page.goto(f"{served}/recordings?days=all&archived=yes")
    found = page.locator("td[data-label=From]").first.inner_text().split()[0]
    tab_to(page, "document.activeElement.id === 'q'")
    page.keyboard.type(found)
    page.keyboard.press("Enter")
    page.locator("#found").wait_for()
    assert found not in page.url
    page.goto(f"{served}/recordings?days=all&archived=yes")
    tab_to(page, "document.activeElement.pathname?.startsWith('/recording/')")
    page.keyboard.press("Enter")
    page.locator("audio").wait_for()
    assert page.locator("#table-plays").count() == 0
    tab_to(page, "document.activeElement.tagName === 'AUDIO'")
    page.keyboard.press("Space")
    heard = "new Promise(done => document.querySelector('audio').addEventListener('timeupdate', done))"
    page.evaluate(f"{heard}.then(() => true)")
    page.reload()
    assert page.locator("#table-plays tbody tr").count() == 1
    tab_to(page, "document.activeElement.hasAttribute('download')")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename.endswith(".mp3")
    assert page.messages == []


def tab_to(page: Any, condition: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate(condition):
            return
    raise AssertionError(condition)


def test_values_show_under_the_mouse_and_everything_works_without_a_script(
    served: str, page: Any, browser: Any
) -> None:
    page.goto(f"{served}/?days=91")
    page.locator(".plot [data-tip]").nth(5).hover()
    tip = page.locator(".tip")
    assert tip.inner_text() == page.locator(".plot [data-tip]").nth(5).get_attribute("data-tip")
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(f"{served}/?days=91")
    assert plain.locator(".plot a title").count() == 91
    plain.fill("#q", "1017")
    plain.locator("#q").press("Enter")
    assert plain.locator("#found").inner_text().endswith("recordings")
    context.close()


def test_empty_database_shows_what_to_run(own_folder: Path, page: Any) -> None:
    write_duckdb(own_folder / "vbc.duckdb", {"company_recordings": []})
    with serve_dashboard(own_folder) as url:
        page.goto(url)
        assert page.locator("h1").inner_text() == "No recordings yet"
        assert page.get_by_text("vbc sync && vbc models run").is_visible()
        assert Axe().run(page).violations_count == 0
