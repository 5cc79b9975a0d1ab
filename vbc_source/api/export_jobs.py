"""Export jobs at the API: how to start, list and watch them, and where their zips are."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any
from urllib.parse import quote, urlencode

from vbc_source.api.client import Client
from vbc_source.api.export_job import Job, read_job
from vbc_source.config import SELF, load_config
from vbc_source.errors import NotFound, OutcomeUnknown, VbcError

log = logging.getLogger(__name__)

PAGE = 100
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between two looks at a job
PAUSE_PER_JOB = 6.0  # a new application may send ten requests a minute
TIMEOUT = 3600.0


class ExportFailed(VbcError):
    """An export job does not lead to files."""


class ExportApi:
    """The exports of an account.

    Args:
        client: what to send with.
        root: path of the Call Recording API.
        account: an account id, or `self`.
        user: whose jobs they are, a user id or `self`: a company's export is listed under the user who
            started it, an on-demand export under the user whose recordings it has.
        login_name: of the API user, for one of the two spellings of a zip's address; None where unknown.
        clock: seconds that never run backwards.
        now: tells the time.
        sleep: waits so many seconds; the client's own unless given, which ends when it is closed.
    """

    def __init__(
        self,
        client: Client,
        root: str,
        account: str,
        user: str = SELF,
        login_name: str | None = None,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.client, self._root, self._login_name = client, root, login_name
        self._account = f"{root}/accounts/{quote(account, safe='')}"
        self._rows = f"{self._account}/users/{quote(user, safe='')}/call_recordings"
        self._user, self._clock, self.now = user, clock, now
        self._sleep = sleep or client.throttle.sleep

    def close(self) -> None:
        """Close the client."""
        self.client.close()

    def create(self, filters: Mapping[str, Any], *, company: bool) -> list[str]:
        """Start an export.

        Args:
            filters: the API's own, such as `start:gte`.
            company: of the company's recordings; else of the user's own.

        Returns:
            The ids of its jobs: usually one.

        Raises:
            Uncertain: it may have been started all the same.
            GatewayFault: the gateway's last word.
        """
        path = f"{self._account}/company_call_recordings" if company else self._rows
        try:
            return self.client.post(f"{path}/export", filters, _read_ids, what="start of an export")
        except OutcomeUnknown as fault:
            fault.args = (f"{fault}; see vbc export list before starting another",)
            raise

    def list_jobs(self) -> Iterator[Job]:
        """Give the user's jobs as the API has them; each once, however the pages are counted.

        Raises:
            GatewayFault: the gateway's last word.
        """
        number, seen = 1, set[str]()
        while True:
            jobs, total = self._list_page(number)
            fresh = [job for job in jobs if job.id not in seen]
            seen |= {job.id for job in jobs}
            yield from fresh
            if len(seen) >= total or number == 0:
                return
            number = number + 1 if fresh else 0  # some servers count their pages from 0

    def _list_page(self, number: int) -> tuple[list[Job], float]:
        params: dict[str, str | int] = {"page": number, "page_size": PAGE}
        try:
            return self.client.get(f"{self._rows}/jobs", params, _read_jobs, what="list of export jobs")
        except NotFound:  # so some answer beyond the last page
            if number == 0:
                raise
            return [], float("inf")

    def show(self, job_id: str) -> Job:
        """Give a job as the API has it now.

        Raises:
            ExportFailed: there is none of that id any more, or never was.
            GatewayFault: the gateway's last word.
        """
        path, what = f"{self._rows}/jobs/{quote(job_id, safe='')}", f"export job {_name(job_id)}"
        try:
            return self.client.get(path, None, lambda body: read_job(_read_object(body)), what=what)
        except NotFound:
            whose = "the API user" if self._user == SELF else f"user {self._user}"
            raise ExportFailed(
                f"{what} is none of {whose}'s, or has expired: see vbc export list, give --user for another "
                "user's, or start a new one with vbc export create"
            ) from None

    def wait(self, job_ids: Sequence[str], timeout: float = TIMEOUT) -> list[Job]:
        """Look at jobs, less and less often, until each is ready or will never be.

        Raises:
            ExportFailed: some are not ready in time, have expired or failed, or are not known.
            GatewayFault: the gateway's last word.
        """
        began, pause = self._clock(), FIRST_PAUSE
        jobs = {job_id: self.show(job_id) for job_id in job_ids}
        while left := [id_ for id_, job in jobs.items() if job.judge(self.now()) == "waiting"]:
            seconds = min(max(pause, PAUSE_PER_JOB * (len(left) - 1)), began + timeout - self._clock())
            if seconds <= 0:
                told = "; ".join(f"{_name(id_)} is {jobs[id_].progress}" for id_ in left[:3])
                raise ExportFailed(
                    f"{len(left)} of {len(jobs)} export jobs are not complete after {timeout:.0f} s: {told}"
                )
            for id_ in left[:3]:
                log.info("export job %s: %s", _name(id_), jobs[id_].progress)
            self._sleep(seconds)
            jobs |= {id_: self.show(id_) for id_ in left}
            pause = min(pause * 1.5, LONGEST_PAUSE)
        for job in jobs.values():
            self.check_ready(job)
        return list(jobs.values())

    def check_ready(self, job: Job) -> None:
        """Make sure that a job has a zip.

        Raises:
            ExportFailed: it has none; the message says why.
        """
        state, name = job.judge(self.now()), _name(job.id)
        if state == "expired":
            since = f" since {job.valid_until:%Y-%m-%d %H:%M} UTC" if job.valid_until else ""
            raise ExportFailed(
                f"export job {name} has expired{since}: start a new one with vbc export create"
            )
        if state == "failed":
            raise ExportFailed(f"export job {name} has failed at VBC ({job.progress}): start a new one")
        if state == "waiting":
            raise ExportFailed(
                f"export job {name} is not complete ({job.progress}): wait with vbc export wait {name}"
            )

    def find_links(self, job: Job) -> list[str]:
        """Say where a job's zip may be: its own link first, then both spellings of the reference."""
        base, version1 = self.client.base_url, self._root.removesuffix("/api").removesuffix("/v1") + "/v1"
        by_name = {"job_id": job.id, **({"login_name": self._login_name} if self._login_name else {})}
        spelled = [
            f"{base}{self._root}/bulkDownload/retrieve?{urlencode({'jobId': job.id})}",
            f"{base}{version1}/bulkDownload/retrieve?{urlencode(by_name)}",
        ]
        return list(dict.fromkeys(link for link in (job.link, *spelled) if link))


def _name(job_id: str) -> str:
    """A job's id as it may stand in an error: the user typed it, so it may be anything."""
    return "".join(char for char in job_id[:60] if char.isalnum() or char in "-_.")


def _read_object(body: bytes) -> dict[str, Any]:
    found = json.loads(body)
    if not isinstance(found, dict):
        raise ValueError("not a JSON object")  # noqa: TRY004 - what a reader says of a broken body
    return found


def _read_ids(body: bytes) -> list[str]:
    ids = _read_object(body).get("job_ids")
    listed = [ids] if isinstance(ids, (str, int)) else ids
    if not isinstance(listed, list) or not listed:
        raise ValueError("no job_ids")
    return [str(id_) for id_ in listed]


def _read_jobs(body: bytes) -> tuple[list[Job], int]:
    found = _read_object(body)
    rows = (found.get("_embedded") or {}).get("jobs") or []
    total = found.get("total_items")
    if not isinstance(total, int) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("not a list answer")
    return [read_job(row) for row in rows], total


def open_exports(user: str | None = None, account: str | None = None) -> ExportApi:
    """Connect to export jobs at VBC, with settings from dlt's configuration.

    Args:
        user: Whose jobs; the API user's unless given.
        account: Which account, where the settings name several.

    Raises:
        SettingsError: A setting is missing or malformed; the message names it.
    """
    config = load_config()
    account = config.choose_account(account)
    return ExportApi(
        Client.from_config(config), config.recording_api, account, user or SELF, config.login_name
    )
