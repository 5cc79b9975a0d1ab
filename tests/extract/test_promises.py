"""The promises, shown at size: nothing lost, nothing twice, whatever the gateway and the machine do."""

from __future__ import annotations

import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from copy import deepcopy
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from extraction import Extraction, load
from kills import choose_moments, count_kills
from loading import (
    assert_equal,
    environment,
    expected_children,
    expected_recordings,
    query,
    read_database,
    run_vbc,
    still_gateway,
    vbc,
)

from vbc_source.emulator import FAULTS, Emulator, Gateway
from vbc_source.errors import Unavailable

KILLED_SIZE = 5000
KILLS = count_kills(6)

Serve = Callable[[Gateway], str]

TRANSIENT = [
    name
    for name in FAULTS
    if name.startswith(("throttled", "token-", "wrong-", "missing-"))
    or name
    in {
        *("hard-limit", "suspended", "refused", "backend-timeout", "bad-gateway", "empty-body", "html"),
        *("not-json", "truncated", "cut-json", "fault-200", "reset", "redirect", "login-down", "login-html"),
    }
]


def recently(**span: float) -> str:
    return (datetime.now(timezone.utc) - timedelta(**span)).strftime("%Y-%m-%dT%H:%M:%S+0000")


FORMS = ("xml", "wrapped", "flat")
# those whose body bears no code look the same in each format
FORMLESS = {
    *("bad-gateway", "empty-body", "html", "not-json", "truncated", "cut-json", "reset", "redirect"),
    *("login-html", "wrong-totals", "missing-totals"),
}
EVERYDAY = {  # one of each kind; the others are no different to the client, and take seconds too
    *("token-expired", "reset", "truncated", "fault-200", "wrong-totals", "login-down"),
}


class Churn:
    """Deletes and inserts recordings while pages are read, and remembers which vanished."""

    def __init__(self, seed: int, every: int) -> None:
        self._random, self._every, self._pages = random.Random(seed), every, 0
        self.vanished: set[int] = set()

    def __call__(self, gateway: Gateway, _: Any) -> None:
        self._pages += 1
        if self._pages % self._every:
            return
        vanishing = int(self._random.choice(gateway.company.all())["id"])
        gateway.company.delete(vanishing)
        self.vanished.add(vanishing)
        gateway.company.add(start=recently(hours=self._random.uniform(0, 24)))


@pytest.mark.parametrize(
    ("recordings", "behaviours", "every"),
    [
        (2_000, (), 3),
        pytest.param(20_000, (), 3, marks=pytest.mark.slow),
        pytest.param(20_000, ("ignore-order", "page-base-0", "odd-times"), 7, marks=pytest.mark.slow),
        pytest.param(
            20_000,
            ("random-order", "cap-100", "ids-as-text", "no-embedded", "no-total-pages"),
            100,
            marks=pytest.mark.slow,
        ),
        pytest.param(20_000, ("cap-7", "page-base-0", "empty-404"), 500, marks=pytest.mark.slow),
    ],
    ids=lambda value: "+".join(value) or "quiet" if isinstance(value, tuple) else str(value),
)
def test_recordings_are_loaded_exactly_once_whatever_changes(
    serve: Serve, recordings: int, behaviours: tuple[str, ...], every: int
) -> None:
    """Inserts, deletes, late arrivals, ties, an ignored order, base 0, pages of seven."""
    gateway, churn = still_gateway(recordings=recordings, faults=behaviours, held_back=20), Churn(1, every)
    # ties on start, some of them across pages
    for _ in range(40):
        gateway.company.add(start=recently(days=100))
    url, pipeline = serve(gateway), Extraction()
    gateway.before_page.append(churn)
    # the lookback covers the recordings that are held back
    load(pipeline, url, page_size=500, lookback_hours=120)
    gateway.before_page.clear()
    gateway.release()
    load(pipeline, url, lookback_hours=120)
    assert churn.vanished
    loaded = [row[0] for row in query(pipeline, "SELECT id FROM company_recordings")]
    assert len(loaded) == len(set(loaded))
    # a deletion behind the reader shows in a later comparison, not in the tables
    extra = frozenset(loaded) - {row[1] for row in expected_recordings(gateway)}
    assert extra <= churn.vanished
    assert_equal(pipeline, gateway, less=extra)


@pytest.mark.parametrize(
    ("fault", "form"),
    [
        pytest.param(fault, form, marks=[] if form == "wrapped" and fault in EVERYDAY else [pytest.mark.slow])
        for fault in TRANSIENT
        for form in (["wrapped"] if fault in FORMLESS else FORMS)
    ],
)
@pytest.mark.usefixtures("quick_retries")
def test_each_transient_fault_leaves_the_rows_correct(serve: Serve, fault: str, form: str) -> None:
    gateway = still_gateway(recordings=120)
    url, pipeline = serve(gateway), Extraction()
    gateway.fault(f"{fault}:{form}")
    load(pipeline, url, page_size=50)
    assert_equal(pipeline, gateway)


def test_a_run_that_fails_keeps_nothing_and_the_next_one_completes(serve: Serve) -> None:
    gateway = still_gateway(recordings=300)
    url, extraction = serve(gateway), Extraction()
    load(extraction, url)
    kept = deepcopy((extraction.state, extraction.tables))
    gateway.company.add(id=1, start=recently(hours=1))
    gateway.fault("down")
    with pytest.raises(Unavailable, match="did not answer properly"):
        load(extraction, url, retry_seconds=0.1)
    assert (extraction.state, extraction.tables) == kept
    gateway.heal()
    load(extraction, url)
    assert_equal(extraction, gateway)


@pytest.mark.slow
def test_a_gateway_that_is_down_fails_clearly_and_the_next_run_completes(
    serve: Serve, own_folder: Path
) -> None:
    gateway = still_gateway(recordings=300)
    url = serve(gateway)
    assert run_vbc(own_folder, url, "sync").returncode == 0
    state = read_database(own_folder, "SELECT version, state FROM vbc_data._dlt_pipeline_state")
    gateway.company.add(id=1, start=recently(hours=1))
    gateway.fault("down")
    failed = run_vbc(own_folder, url, "sync", SOURCES__VBC__RETRY_SECONDS="1")
    assert failed.returncode == 1
    assert "did not answer properly" in failed.stderr.splitlines()[-1]
    assert "Traceback" not in failed.stderr
    assert read_database(own_folder, "SELECT version, state FROM vbc_data._dlt_pipeline_state") == state
    gateway.heal()
    assert run_vbc(own_folder, url, "sync").returncode == 0
    found = read_database(own_folder, "SELECT count(*), count(DISTINCT id) FROM vbc_data.company_recordings")
    assert found == [(len(gateway.company), len(gateway.company))]


@pytest.fixture(scope="session")
def duration(tmp_path_factory: pytest.TempPathFactory) -> float:
    """How long a whole `vbc sync` of the killed runs' size takes here, seconds."""
    with Emulator(still_gateway(recordings=KILLED_SIZE)) as url:
        began = time.monotonic()
        assert run_vbc(tmp_path_factory.mktemp("whole"), url, "sync").returncode == 0
        return time.monotonic() - began


@pytest.mark.slow
@pytest.mark.parametrize("trial", range(KILLS))
def test_a_kill_at_a_random_moment_loses_nothing(
    serve: Serve, own_folder: Path, duration: float, trial: int
) -> None:
    """`kill -9` in extract, normalize or load: the next run completes, and nothing is there twice."""
    gateway = still_gateway(recordings=KILLED_SIZE)
    url = serve(gateway)
    # from the first request on: before it, there is nothing to lose
    # and one moment in each part of the time
    moment = duration * (0.35 + 0.65 * (trial + choose_moments(trial).random()) / KILLS)
    with subprocess.Popen(
        vbc("sync"), cwd=own_folder, env=environment(url, own_folder), stderr=subprocess.DEVNULL
    ) as process:
        try:
            process.wait(timeout=moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    finished = run_vbc(own_folder, url, "sync")
    assert finished.returncode == 0, finished.stderr
    for table, expected in (
        ("company_recordings", [row[:2] for row in expected_recordings(gateway)]),
        ("company_recordings__rule_ids", [row[:3] for row in expected_children(gateway, "rule_ids", int)]),
    ):
        key = ", ".join(("account_id", "id" if table == "company_recordings" else "recording_id, position"))
        assert sorted(read_database(own_folder, f"SELECT {key} FROM vbc_data.{table}")) == expected


@pytest.mark.slow
def test_half_a_million_recordings_stay_under_400_megabytes(serve: Serve, own_folder: Path) -> None:
    url = serve(still_gateway(recordings=500_000))
    on_exit = "import atexit; atexit.register(lambda: print(open('/proc/self/status').read()))"
    process = subprocess.run(
        [sys.executable, "-c", f"{on_exit}; from vbc_source.cli import main; main(['sync'])"],
        cwd=own_folder,
        env=environment(url, own_folder),
        capture_output=True,
        text=True,
        check=True,
        timeout=240,
    )
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", process.stdout)
    assert read_database(own_folder, "SELECT count(*) > 490000 FROM vbc_data.company_recordings") == [(True,)]
    assert int(peak) / 1024 < 400
