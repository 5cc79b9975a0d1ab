"""Scenarios of pods that share one API user, and of one installation for many customers."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from benchmarks.contenders import POSTGRES
from benchmarks.operations import LOGIN, Figure, scenario, work_in_folder
from benchmarks.operations_postgres import make_schema

PODS = 8
TENANTS = 50
WRONG, FORBIDDEN = "t07", "t31"  # a wrong password, and an API user without the right
VBC = (sys.executable, "-c", "from vbc_source.cli import main; main()")


def run_pods(url: str, folder: Path, settings: Mapping[str, str], *arguments: str) -> tuple[int, float]:
    """Run `vbc sync` in pods at once, each with its own home, data folder and dataset; count successes."""
    began, pods = time.perf_counter(), []
    for number in range(PODS):
        home = folder / f"pod{number}"
        home.mkdir(parents=True)
        own = {"HOME": str(home), "DLT_DATA_DIR": str(home / "dlt"), "SOURCES__VBC__BASE_URL": url}
        environment = {**os.environ, **own, **settings}
        command = [*VBC, "sync", *(argument.format(number) for argument in arguments)]
        with (home / "sync.log").open("wb") as log:
            pods.append(subprocess.Popen(command, cwd=home, env=environment, stdout=log, stderr=log))
    good = sum(pod.wait() == 0 for pod in pods)
    return good, time.perf_counter() - began


@scenario("pods")
def measure_pods(options: argparse.Namespace) -> Iterator[Figure]:
    """Eight pods start `vbc sync` together with one user; each login revokes the token of before."""
    yield from _measure_pods("pods", options, "without token_folder", 2 * PODS)


@scenario("pods-volume")
def measure_pods_with_volume(options: argparse.Namespace) -> Iterator[Figure]:
    """The same with a token folder in common."""
    yield from _measure_pods("pods-volume", options, "with token_folder", 1, TOKEN_FOLDER="{0}/volume/tokens")


@scenario("pods-postgres")
def measure_pods_in_postgres(options: argparse.Namespace) -> Iterator[Figure]:
    """The same without a folder in common, but with one Postgres: a dataset for each pod.

    The code of a revoked token is that of an expired one, which tells nobody that others are at work.
    """
    yield from _measure_pods("pods-postgres", options, "without token_folder, one Postgres", 2 * PODS)


def _measure_pods(
    name: str, options: argparse.Namespace, title: str, most: int, **settings: str
) -> Iterator[Figure]:
    from vbc_source.emulator import Emulator, Gateway

    faults = (f"latency-{options.latency}", *(("revoked-expired",) if name == "pods-postgres" else ()))
    gateway = Gateway(recordings=1_000, users=options.pod_users, user_recordings=100, faults=faults)
    with ExitStack() as stack:
        folder = stack.enter_context(work_in_folder(SOURCES__VBC__USER_IDS="all"))
        url = stack.enter_context(Emulator(gateway))
        own = {f"SOURCES__VBC__{key}": value.format(folder) for key, value in settings.items()}
        arguments: tuple[str, ...] = ()
        if name == "pods-postgres":
            schema = stack.enter_context(make_schema())
            own["DESTINATION__POSTGRES__CREDENTIALS"] = POSTGRES
            arguments = ("--destination", "postgres", "--dataset", f"{schema}_{{0}}")
        good, seconds = run_pods(
            url, folder / "pods", {"SOURCES__VBC__MAX_CONCURRENCY": "2", **own}, *arguments
        )
    yield Figure(name, f"pods that failed, {title}", PODS - good, f"of {PODS}", limit=0)
    yield Figure(name, f"logins, {title}", gateway.tokens.logins, "logins", limit=most)
    yield Figure(name, f"until the last one ended, {title}", seconds, "s")


def run_measured(title: str, *arguments: str) -> tuple[subprocess.CompletedProcess[str], Figure, Figure]:
    """Run a command; return how it ended, its time, and its time on a processor."""
    began, before = time.perf_counter(), os.times()
    done = subprocess.run([*VBC, *arguments], capture_output=True, text=True, check=False)
    seconds, after = time.perf_counter() - began, os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return (
        done,
        Figure("tenants", title, seconds, "s"),
        Figure("tenants", f"{title}, on a processor", cpu, "s"),
    )


@scenario("tenants")
def measure_tenants(_: argparse.Namespace) -> Iterator[Figure]:
    """Fifty customers in one command, two of them broken: a wrong password, a missing right."""
    import duckdb

    from vbc_source.emulator import Emulator, Gateway

    settings: dict[str, str] = {}
    gateways: dict[str, Gateway] = {}
    with ExitStack() as stack:
        for number in range(TENANTS):
            name = f"t{number:02}"
            gateway = Gateway(recordings=400, users=2, seed=number, account_id=str(600_000 + number))
            gateways[name] = gateway
            own = {"BASE_URL": stack.enter_context(Emulator(gateway))}
            own |= {f"CREDENTIALS__{key}": value for key, value in LOGIN.items()}
            settings |= {f"SOURCES__VBC__TENANTS__{name.upper()}__{key}": own[key] for key in own}
        settings[f"SOURCES__VBC__TENANTS__{WRONG.upper()}__CREDENTIALS__PASSWORD"] = "wrong"
        gateways[FORBIDDEN].fault("no-rights*always")
        folder = stack.enter_context(work_in_folder(**settings))
        good = [name for name in gateways if name not in (WRONG, FORBIDDEN)]
        for title in ("first run", "a run without news"):
            (done, *figures) = run_measured(title, "sync", "--tenant", "all")
            yield from figures
            last = done.stderr.splitlines()[-1]
            named = last == f"vbc sync: 2 of {TENANTS} tenants failed: {WRONG}, {FORBIDDEN}"
            wrong = int(not named or done.returncode != 1)
            yield Figure("tenants", f"not exit status 1 and both named, {title}", wrong, "runs", limit=0)
        loaded = []
        for name in good:
            with duckdb.connect(str(folder / f"tenant_{name}.duckdb"), read_only=True) as database:
                query = f"SELECT count(*), count(DISTINCT account_id) FROM vbc_{name}.company_recordings"
                loaded.append(database.execute(query).fetchone())
        wrong = sum(
            found != (len(gateways[name].company), 1) for name, found in zip(good, loaded, strict=True)
        )
        yield Figure(
            "tenants", "datasets that are not their own recordings", wrong, f"of {len(good)}", limit=0
        )
        (shown, *figures) = run_measured("status of all", "status", "--tenant", "all")
        yield from figures
        rows = len(shown.stdout.splitlines()) - 1
        yield Figure("tenants", "rows missing in the table of status", TENANTS - rows, "rows", limit=0)
