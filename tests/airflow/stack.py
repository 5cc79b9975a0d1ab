"""A real Airflow: its components as processes of one group, which ends with the test."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import requests

DAGS = Path(__file__).parents[2] / "pipelines" / "airflow"
BIN = Path(sys.executable).parent
ENDED = {"success", "failed"}
PATIENCE = 600.0  # seconds until a test gives up: a busy machine may take a minute to start a component


def wait_until(found: Callable[[], Any], what: str) -> Any:
    """Look again and again until there is something."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if result := found():
            return result
        time.sleep(0.2)
    raise TimeoutError(f"{what}: not within {PATIENCE:.0f} s")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


class Components:
    """Processes, each with a log of its own, all stopped by their own groups."""

    def __init__(self, home: Path, environment: dict[str, str]) -> None:
        self.home, self._environment = home, environment
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, *command: str | Path) -> subprocess.Popen[bytes]:
        name = "-".join(Path(part).name for part in command[:3] if not str(part).startswith("-"))
        with (self.home / f"{name}-{len(self._processes)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, env=self._environment, cwd=self.home, stdout=log, stderr=log, start_new_session=True
            )
        self._processes.append(process)
        return process

    def stop(self) -> None:
        """Ask each to end, the youngest first, and then insist, with all of its session."""
        for process in reversed(self._processes):
            for sign, seconds in ((signal.SIGTERM, 10), (signal.SIGKILL, 5)):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, sign)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(seconds)
            for pid in _session(process.pid):  # tasks at work are groups of their own
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def _session(leader: int) -> list[int]:
    """The processes of a session."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rsplit(")", 1)[1].split()[3]) == leader:
                found.append(int(stat.parent.name))
    return found


class Stack:
    """An Airflow that runs, spoken to over its API."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()

    def log_in(self) -> bool:
        try:
            answer = self._session.get(f"{self.url}/auth/token", timeout=5)
        except requests.ConnectionError:
            return False
        if answer.status_code != 201:
            return False
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
        return True

    def call(self, method: str, path: str, **body: Any) -> dict[str, Any]:
        answer = self._session.request(method, f"{self.url}/api/v2/{path}", json=body or None, timeout=30)
        assert answer.ok, f"{method} {path}: {answer.status_code} {answer.text[:500]}"
        return dict(answer.json())

    def knows(self, dag: str) -> bool:
        return self._session.get(f"{self.url}/api/v2/dags/{dag}", timeout=30).ok

    def pause(self, dag: str, paused: bool) -> None:
        self.call("PATCH", f"dags/{dag}", is_paused=paused)

    def runs(self, dag: str) -> list[str]:
        """The states of all runs of a DAG."""
        return [str(run["state"]) for run in self.call("GET", f"dags/{dag}/dagRuns?limit=100")["dag_runs"]]

    def trigger(self, dag: str, **conf: Any) -> str:
        self.pause(dag, False)
        run = self.call("POST", f"dags/{dag}/dagRuns", logical_date=None, conf=conf)
        return str(run["dag_run_id"])

    def state(self, dag: str, run: str) -> str:
        return str(self.call("GET", f"dags/{dag}/dagRuns/{run}")["state"])

    def tasks(self, dag: str, run: str, task: str = "") -> list[dict[str, Any]]:
        found = self.call("GET", f"dags/{dag}/dagRuns/{run}/taskInstances?limit=100")["task_instances"]
        return [each for each in found if not task or each["task_id"] == task]

    def finish(self, dag: str, run: str) -> str:
        """Wait for a run to end."""
        wait_until(lambda: self.state(dag, run) in ENDED, f"the end of {dag}")
        return self.state(dag, run)


@contextmanager
def run_stack(
    home: Path, environment: dict[str, str], further: Sequence[Sequence[str | Path]] = (), **changed: str
) -> Iterator[Stack]:
    """Start an api-server, a scheduler, a dag-processor and whatever else; stop them all."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {
        **environment,
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "AIRFLOW__API__BASE_URL": url,
        "AIRFLOW__API__PORT": str(port),
        **changed,
    }
    components, stack = Components(home, environment), Stack(url)
    airflow = BIN / "airflow"
    try:
        for command in further:
            components.start(*command)
        components.start(airflow, "api-server", "--port", str(port))
        components.start(airflow, "dag-processor")
        wait_until(stack.log_in, "the api-server")
        components.start(airflow, "scheduler")
        wait_until(lambda: stack.knows("vbc_backfill"), "the DAGs")
        yield stack
    finally:
        components.stop()


def try_dag(environment: dict[str, str], dag: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a DAG without a scheduler, however it ends."""
    process = subprocess.run(
        [BIN / "airflow", "dags", "test", dag, *options],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE,
    )
    print(process.stdout, process.stderr, sep="\n")
    return process


def run_dag(environment: dict[str, str], dag: str) -> None:
    """Run a DAG without a scheduler; raises CalledProcessError where it fails."""
    try_dag(environment, dag).check_returncode()


def dlt_settings(environment: dict[str, str]) -> dict[str, str]:
    """What the connections say, as dlt's own settings."""
    vbc = json.loads(environment["AIRFLOW_CONN_VBC"])
    login = {**vbc["extra"], "username": vbc["login"], "password": vbc["password"]}
    url = login.pop("base_url")
    return {
        **{f"SOURCES__VBC__CREDENTIALS__{name.upper()}": value for name, value in login.items()},
        "SOURCES__VBC__BASE_URL": url,
        "DESTINATION__POSTGRES__CREDENTIALS": environment["AIRFLOW_CONN_VBC_DESTINATION"],
    }


def redis_server() -> str | None:
    return shutil.which("redis-server")
