from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import dlt
import psycopg2
import pytest
from gateway_fixtures import LIST, Clock, Stage, make_credentials
from loading import open_target
from warehouses import POSTGRES, has_postgres

from vbc_source.api.client import Client
from vbc_source.api.http.rate_limit import ClientClosed
from vbc_source.backfills.owners import resolve_self
from vbc_source.config import VbcConfig
from vbc_source.load.destinations import Target
from vbc_source.load.locks import PostgresTurns, hold_dataset_lock, open_turns
from vbc_source.warehouse.queries import LoadedTables

PODS = 8
REQUESTS = 12
WAITING = """
SELECT 1 FROM pg_locks AS waiting JOIN pg_locks AS held USING (locktype, database, classid, objid)
WHERE locktype = 'advisory' AND held.granted AND NOT waiting.granted
"""
LONG_WAITING = """
SELECT 1 FROM pg_stat_activity
WHERE wait_event = 'advisory' AND clock_timestamp() - query_start > interval '0.2 s'
"""
HOLDERS = """
SELECT count(*), bool_and(state = 'idle in transaction' AND backend_xid IS NULL AND backend_xmin IS NULL)
FROM pg_locks JOIN pg_stat_activity USING (pid)
WHERE locktype = 'advisory' AND application_name = 'holder_of_a_test'
"""

pytestmark = pytest.mark.skipif(not has_postgres(), reason="no PostgreSQL at 127.0.0.1:5432")


class Pod:
    """A client with a folder of its own, as in a pod, and its turns in Postgres."""

    def __init__(
        self, folder: Path, url: str = "https://vbc.test", postgres: str = POSTGRES, **options: Any
    ) -> None:
        self._destination = dlt.destinations.postgres(postgres)
        self._pipeline = dlt.pipeline(
            f"pod_{folder.name}",
            str(folder / "pipelines"),
            destination=self._destination,
            dataset_name="pods",
        )
        self.client = Client(url, make_credentials(), token_folder=folder / "tokens", **options)
        self.turns_of = open_turns(self._destination, self._pipeline.sql_client)

    def __enter__(self) -> PostgresTurns:
        turns = self.turns_of.__enter__()
        assert turns
        self.client.take_turns(turns)
        return turns

    def __exit__(self, *_: object) -> None:
        self.turns_of.__exit__(None, None, None)
        self.client.close()


def read(pod: Pod) -> int:
    return pod.client.get(LIST, None, lambda _: 1, what="a list")


def wait_for(turns: PostgresTurns, *, alone: bool, login: str = "turns of a test") -> None:
    while turns.hold(login, alone=alone):
        pass


@pytest.mark.parametrize("faults", [(), ("revoked-expired",)])
def test_eight_pods_without_a_common_disk_log_in_twice_at_most(
    stage: Stage, tmp_path: Path, faults: tuple[str, ...]
) -> None:
    gateway = stage.start(recordings=10, faults=("latency-5", *faults))
    pods, ready = (
        [Pod(tmp_path / f"p{number}", gateway.base_url) for number in range(PODS)],
        threading.Barrier(PODS),
    )

    def work(pod: Pod) -> int:
        ready.wait(30)
        with pod:
            return sum(read(pod) for _ in range(REQUESTS))

    with ThreadPoolExecutor(PODS) as pool:
        answers = list(pool.map(work, pods))

    assert answers == [REQUESTS] * PODS
    assert PODS <= gateway.tokens.logins <= 2 * PODS


@pytest.mark.parametrize("fault", ["token-invalid", "token-missing", "token-expired", "rejected-200"])
def test_who_renews_a_rejected_token_is_alone_whatever_the_code_says(
    stage: Stage, tmp_path: Path, fault: str
) -> None:
    gateway = stage.start(recordings=10)
    with (pod := Pod(tmp_path / "pod", gateway.base_url)) as turns:
        read(pod)
        assert not turns.is_held(alone=True)
        gateway.fault(fault)
        assert read(pod) == 1
        assert turns.is_held(alone=True)
    assert gateway.count("/token") == 2


def test_a_token_whose_time_is_over_is_renewed_beside_others(stage: Stage, tmp_path: Path) -> None:
    clock = Clock()
    gateway = stage.start(recordings=10, clock=clock)
    with (pod := Pod(tmp_path / "pod", gateway.base_url, clock=clock)) as turns:
        read(pod)
        clock.now += 86_400
        read(pod)
        assert turns.is_held(alone=False)
        assert not turns.is_held(alone=True)
    assert gateway.count("/token") == 2


def test_a_lock_ends_with_its_transaction_since_a_pooler_shares_sessions(
    tmp_path: Path, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As with PgBouncer's `pool_mode = transaction`. The transaction keeps no vacuum from its work."""
    named = f"{POSTGRES}?application_name=holder_of_a_test"
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", named)
    pipeline = open_target("pooled", "postgres", f"pooled_{uuid4().hex[:8]}")
    with closing(psycopg2.connect(POSTGRES)) as connection, connection.cursor() as cursor:
        connection.autocommit = True
        with Pod(tmp_path / "pod", postgres=named) as turns, hold_dataset_lock(pipeline):
            wait_for(turns, alone=False)
            wait_for(turns, alone=True)
            cursor.execute(HOLDERS)
            assert cursor.fetchone() == (2, True)
        with Pod(tmp_path / "next", postgres=named) as turns, hold_dataset_lock(pipeline):
            wait_for(turns, alone=True)  # the server may end what was closed a moment later


def test_a_lock_may_take_longer_than_a_statement(tmp_path: Path) -> None:
    """`statement_timeout` of the user ends no wait for another load, also of a dataset spelt otherwise."""

    def open_pipeline(name: str, address: str, dataset: str = "vbc_test_patience") -> dlt.Pipeline:
        destination = dlt.destinations.postgres(address)
        return dlt.pipeline(name, str(tmp_path), destination=destination, dataset_name=dataset)

    def wait() -> bool:
        address = f"{POSTGRES}?options=-c%20statement_timeout%3D50"
        patient = open_pipeline("patient", address, "Vbc-Test Patience")
        with hold_dataset_lock(patient):
            return True

    first = open_pipeline("first", POSTGRES)
    with ThreadPoolExecutor(1) as pool, first.sql_client() as database:
        with hold_dataset_lock(first):
            waiting = pool.submit(wait)
            while not waiting.done() and not database.execute_sql(LONG_WAITING):
                pass
        assert waiting.result(30)


def test_who_logs_in_first_waits_for_the_one_that_is_alone(tmp_path: Path) -> None:
    with ThreadPoolExecutor(1) as pool, Pod(tmp_path / "late") as late:
        with Pod(tmp_path / "alone") as alone:
            wait_for(alone, alone=True)
            waiting = pool.submit(wait_for, late, alone=False)
            assert not late.is_held(alone=False)
            with Pod(tmp_path / "other") as other:
                wait_for(other, alone=True, login="another user")
        waiting.result(30)
        assert late.is_held(alone=False)
        assert not late.is_held(alone=True)


def test_a_backfill_waits_with_its_question_which_account_is_its_own(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", POSTGRES)
    gateway = stage.start(recordings=10)
    config = VbcConfig.from_values(
        credentials=make_credentials(), base_url=gateway.base_url, token_folder=str(tmp_path / "tokens")
    )
    loaded = LoadedTables(Target(destination="postgres", dataset="pods"))
    with ThreadPoolExecutor(1) as pool, loaded.make_client() as database:
        with (pod := Pod(tmp_path / "pod", gateway.base_url)):
            read(pod)
            gateway.fault("token-invalid")
            read(pod)
            asking = pool.submit(resolve_self, config, loaded)
            while not asking.done() and not database.execute_sql(WAITING):
                pass
            assert not asking.done()
            logins = gateway.count("/token")
        assert asking.result(30).accounts == ("549825",)
    assert gateway.count("/token") == logins + 1


def test_two_that_lost_their_token_do_not_wait_for_each_other(tmp_path: Path) -> None:
    def work(pod: Pod, turns: PostgresTurns) -> bool:
        wait_for(turns, alone=True)
        is_alone = turns.is_held(alone=True)
        pod.__exit__()
        return is_alone

    pods = [Pod(tmp_path / name) for name in ("first", "second")]
    turns = [pod.__enter__() for pod in pods]
    for each in turns:
        wait_for(each, alone=False)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(work, pods, turns)) == [True, True]


def test_a_database_that_fails_keeps_nobody_from_logging_in(stage: Stage, tmp_path: Path) -> None:
    gateway = stage.start(recordings=10)
    pod = Pod(tmp_path / "pod", gateway.base_url, "postgresql://postgres:unused@127.0.0.1:1/test")
    with pod as turns:
        assert read(pod) == 1
        assert not turns.is_held(alone=False)
    assert gateway.tokens.logins == 1


def test_other_destinations_give_no_turns(tmp_path: Path) -> None:
    destination = dlt.destinations.duckdb(str(tmp_path / "vbc.duckdb"))
    with open_turns(destination, pytest.fail) as turns:
        assert turns is None
    assert not list(tmp_path.iterdir())


def test_a_client_that_is_closed_stops_waiting(stage: Stage, tmp_path: Path) -> None:
    class Busy:
        def is_held(self, *, alone: bool) -> bool:
            return False

        def hold(self, login: str, *, alone: bool) -> bool:
            client.close()
            return True

    gateway = stage.start(recordings=10)
    with closing(Client(gateway.base_url, make_credentials(), token_folder=tmp_path / "tokens")) as client:
        client.take_turns(Busy())
        with pytest.raises(ClientClosed):
            client.log_in()
    assert gateway.tokens.logins == 0
