"""The look-ups in a real destination; the other tests use a stand-in with the same methods."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable
from datetime import datetime, timezone

import pytest
from expected_rows import MAIN, users_of
from extraction import Extraction, load
from loading import load as load_with_dlt
from loading import open_pipeline, query, still_gateway

from vbc_source.api.endpoints import COMPANY, USERS
from vbc_source.emulator import Gateway
from vbc_source.extract.destination_lookup import DestinationLookup
from vbc_source.windows import Window

Serve = Callable[[Gateway], str]

START, END = datetime(2026, 1, 1, tzinfo=timezone.utc), datetime(2026, 2, 1, tzinfo=timezone.utc)


@pytest.mark.slow
def test_ids_of_a_span_and_users_that_have_not_left_are_read(serve: Serve) -> None:
    gateway = still_gateway(users=2)
    gateway.users.add(id=77)
    for id_, start in ((1, "2025-12-31"), (2, "2026-01-01"), (3, "2026-02-01"), (4, "2026-02-02")):
        gateway.company.add(id=id_, start=f"{start}T00:00:00Z")
    url, pipeline = serve(gateway), open_pipeline()
    lookup = DestinationLookup(pipeline)
    load_with_dlt(pipeline, url, "company_recordings", "users", start_date="2025-01-01")
    found = lookup.read_lists(COMPANY, {(MAIN,): Window(START, END), ("777",): Window(START, END)}) or {}
    assert found.keys() == {(MAIN,)}
    assert sorted(found[MAIN,].ids.to_pylist()) == [2, 3]
    assert found[MAIN,].newest == END
    assert (lookup.read_newest(COMPANY, END) or {}).items() == {((MAIN,), END)}
    ((load_id,),) = query(pipeline, "SELECT load_id FROM _dlt_loads")
    assert [lookup.has_load(name) for name in (load_id, "1")] == [True, False]
    assert lookup.read_state("vbc", "company_recordings")["load"] == load_id
    assert lookup.read_state("vbc", "other") == {}
    with pipeline.sql_client() as client:
        client.execute_sql("UPDATE users SET gone_at = now() WHERE id = '77'")
    present = lookup.read_present(USERS, MAIN, ["id", "gone_at"]) or []
    assert sorted(row["id"] for row in present) == sorted(set(users_of(gateway)) - {"77"})
    assert {row["gone_at"] for row in present} == {None}


def test_a_table_that_was_not_loaded_yet_has_no_users() -> None:
    assert DestinationLookup(open_pipeline()).read_present(USERS, MAIN, ["id"]) in ([], None)


def test_a_destination_that_fails_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    class Unreachable:
        def __getattr__(self, name: str) -> None:
            raise ConnectionError

    lookup = DestinationLookup(Unreachable())
    with caplog.at_level(logging.INFO):
        assert lookup.read_lists(COMPANY, {(MAIN,): Window(START, END)}) is None
        assert lookup.read_newest(COMPANY, END) is None
        assert lookup.has_load("1") is None
        assert lookup.read_present(USERS, MAIN, ["id"]) is None
    assert ["ConnectionError" in record.getMessage() for record in caplog.records] == [True] * 4


def test_users_that_left_while_the_destination_did_not_answer_are_marked_by_the_next_run(
    serve: Serve,
) -> None:
    gateway = still_gateway(users=3)
    url, extraction = serve(gateway), Extraction()
    gateway.users.add(id=77)
    load(extraction, url, "users")
    gateway.users.remove(77)
    extraction.answers = False
    load(extraction, url, "users")
    assert query(extraction, "SELECT count(*) FROM users WHERE gone_at IS NOT NULL") == [(0,)]
    extraction.answers = True
    load(extraction, url, "users")
    assert query(extraction, "SELECT id FROM users WHERE gone_at IS NOT NULL") == [("77",)]
    lookups = extraction.lookups
    load(extraction, url, "users")
    assert extraction.lookups == lookups + 1  # an unchanged list needs one: are its rows still there?


@pytest.mark.parametrize("method", ["read_lists", "read_newest", "read_present"])
def test_the_stand_in_has_the_same_methods(method: str) -> None:
    def names(cls: type) -> list[str]:
        return list(inspect.signature(getattr(cls, method)).parameters)

    assert names(Extraction) == names(DestinationLookup)
