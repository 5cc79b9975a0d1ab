"""Plans of lists and windows, and the progress of a source that ended early; on state alone."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import dlt
import pytest

from vbc_source.api.endpoints import COMPANY, JOBS, ON_DEMAND, Endpoint
from vbc_source.config import VbcConfig
from vbc_source.extract.destination_lookup import DestinationLookup
from vbc_source.extract.extractor import ReadPlanner
from vbc_source.extract.reading.lists import ListOwner, ReadTask
from vbc_source.extract.state import CursorState, ResourceRun
from vbc_source.windows import Window

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
DAY = timedelta(days=1)
FIRST = NOW - 100 * DAY


@pytest.fixture(autouse=True)
def own_folder() -> None:
    """No folder: nothing here reads or writes a file."""


def make_run(
    state: dict[str, Any], endpoint: Endpoint = ON_DEMAND, source_id: str = "source", **settings: Any
) -> ResourceRun:
    config = VbcConfig.from_values(start_date=FIRST.isoformat(), **settings)
    return ResourceRun(
        endpoint,
        config,
        source_id=source_id,
        load_id="1",
        schema=dlt.Schema("vbc"),
        state=state,
        accounts={},
        metrics={},
        lookup=DestinationLookup(),
        now=NOW,
        window=config.fixed_window(NOW, lambda: None),
    )


def tasks(*users: str) -> list[ReadTask]:
    return [ReadTask(ListOwner("1", user)) for user in users]


def users_of(planned: list[ReadTask]) -> list[str | None]:
    return [task.owner.user for task in planned]


def write(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_list_without_a_cursor_is_read_from_the_start_and_others_from_the_lookback() -> None:
    state = {"cursors": {"1/a": write(NOW - DAY)}}
    first, second = ReadPlanner(make_run(state)).plan(tasks("a", "b"))
    assert (first.owner.user, first.window) == ("b", Window(FIRST, NOW))
    assert (second.owner.user, second.window) == ("a", Window(NOW - 3 * DAY, NOW))


def test_lists_without_a_cursor_come_first_then_those_left_unread_by_any_source() -> None:
    cursors = dict.fromkeys(["1/a", "1/b", "1/c"], write(NOW - DAY))
    state = {"cursors": cursors, "unread": ["1/c"], "round": "another source"}
    planner = ReadPlanner(make_run(state))
    selected = planner.select(tasks("a", "b", "c", "new"))
    assert users_of(planner.plan(selected)) == ["new", "c", "a", "b"]


def test_a_source_that_ended_early_continues_with_its_unread_lists_where_it_stopped() -> None:
    state = {"cursors": dict.fromkeys(["1/a", "1/b", "1/c"], write(NOW - DAY))}
    cursors = CursorState(state)
    reached = {"1/a": NOW - DAY, "1/b": NOW - DAY}
    cursors.store_progress("source", ["1/b", "1/c"], reached)
    assert state["reached"] == {"1/b": write(NOW - DAY)}
    planner = ReadPlanner(make_run(state))
    planned = planner.plan(planner.select(tasks("a", "b", "c")))
    assert [(task.owner.user, task.window) for task in planned] == [
        ("b", Window(NOW - DAY, NOW)),
        ("c", Window(NOW - 3 * DAY, NOW)),
    ]
    cursors.clear_progress()
    assert state.keys() == {"cursors"}


def test_another_source_reads_all_lists_with_their_lookback() -> None:
    state = {"cursors": dict.fromkeys(["1/a", "1/b"], write(NOW - DAY))}
    CursorState(state).store_progress("source", ["1/b"], {"1/b": NOW - DAY})
    planner = ReadPlanner(make_run(state, source_id="another source"))
    planned = planner.plan(planner.select(tasks("a", "b")))
    assert users_of(planned) == ["b", "a"]
    assert {task.window for task in planned} == {Window(NOW - 3 * DAY, NOW)}


def test_the_progress_of_an_earlier_version_is_read_as_an_order() -> None:
    state = {
        "cursors": dict.fromkeys(["1/a", "1/b"], write(NOW - DAY)),
        "unread": ["1/b"],
        "round": NOW.isoformat(),
    }
    planner = ReadPlanner(make_run(state))
    assert users_of(planner.plan(planner.select(tasks("a", "b")))) == ["b", "a"]


def test_a_backfill_plans_its_window_and_filters_narrow_it() -> None:
    end = NOW - 10 * DAY
    filters = {"start:gte": write(NOW - 20 * DAY)}
    run = make_run({}, COMPANY, end_date=end.isoformat(), filters=filters)
    (task,) = ReadPlanner(run).plan([ReadTask(ListOwner("1"))])
    assert task.window == Window(NOW - 20 * DAY, end)
    assert not run.incremental


def test_an_empty_window_is_not_planned_and_lists_without_windows_always_are() -> None:
    state = {"cursors": {"1/a": write(NOW + 9 * DAY)}}
    assert ReadPlanner(make_run(state)).plan(tasks("a")) == []
    (task,) = ReadPlanner(make_run(state, JOBS)).plan(tasks("a"))
    assert task.window is None


def test_self_is_planned_by_the_cursor_of_the_list_that_it_was_the_last_time() -> None:
    state = {"1/self": "1/a", "cursors": {"1/a": write(NOW - DAY)}}
    (task,) = ReadPlanner(make_run(state)).plan(tasks("self"))
    assert (task.expected, task.window) == ("1/a", Window(NOW - 3 * DAY, NOW))
