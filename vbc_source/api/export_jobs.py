"""Export jobs: start, list and watch them, and find the address of their zip files."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, Literal
from urllib.parse import quote, urlencode

from vbc_source.api.client import Client
from vbc_source.api.deletion_evidence import says_gone
from vbc_source.api.endpoints import COMPANY, JOBS, ON_DEMAND, keep_own_links, read_owner
from vbc_source.api.faults import redact
from vbc_source.api.http.bodies import read_integer, read_list, read_object
from vbc_source.config import SELF, load_config
from vbc_source.errors import NotFound, OutcomeUnknown, VbcError
from vbc_source.filters import check_filters
from vbc_source.windows import format_instant, parse_instant

log = logging.getLogger(__name__)

State = Literal["waiting", "ready", "expired", "failed"]

PAGE = 100
FIRST_PAUSE, LONGEST_PAUSE = 2.0, 60.0  # seconds between two requests for a job
PAUSE_PER_JOB = 6.0  # seconds; a new application may send ten requests a minute
TIMEOUT = 3600.0
# The vendor documents the status `complete` alone; these words are guesses at the others.
_DONE = ("complete", "completed", "done", "finished", "success", "succeeded")
_FAILED = ("fail", "error", "cancel", "abort", "reject")


class ExportFailed(VbcError):
    """Raised when an export job has no zip file: not yet, no longer, or never."""


class ExportTooSlow(ExportFailed):
    """Raised when export jobs are not complete in time."""


@dataclass(frozen=True, slots=True)
class Job:
    """An export job as the API has it now.

    Attributes:
        id: Id of the job.
        status: Status in the API's words.
        completed: Number of files in its zip so far, or None.
        total: Number of files its zip is going to have, or None.
        link: Address of its zip, or None.
        valid_until: When its zip expires, or None.
        account: The real account id, or None if the response does not contain it.
    """

    id: str
    status: str
    completed: int | None
    total: int | None
    link: str | None
    valid_until: datetime | None
    account: str | None = None

    def state_at(self, now: datetime) -> State:
        """Return the state of the job; a zip that was valid until before `now` has expired in any status."""
        status = self.status.strip().lower()
        if "expire" in status or (self.valid_until is not None and self.valid_until <= now):
            return "expired"
        if status.startswith(_FAILED):  # even if all files are packed
            return "failed"
        # there may be words for success beside these guesses: a zip with an address
        # and all its files is ready
        full = self.total is not None and 0 < self.total == self.completed
        if status in _DONE or (self.link and (status.startswith("partial") or full)):
            return "ready"
        return "failed" if any(word in status for word in _FAILED) else "waiting"

    @property
    def progress(self) -> str:
        """Its status and counts as text."""
        counts = f", {self.completed or 0:,} of {self.total:,} files" if self.total is not None else ""
        return f"{redact(self.status) or 'without a status'}{counts}"


def read_job(row: Mapping[str, Any], base_url: str = "") -> Job:
    """Parse a job of the API; raises ValueError if it has no id. Links to other hosts name no account."""
    if row.get("id") in (None, ""):
        raise ValueError("a job without an id")
    link, links = row.get("download_url"), _read_links(row.get("_links"))
    account, _ = read_owner(keep_own_links(links, base_url) if base_url else links)
    return Job(
        id=str(row["id"]),
        status=str(row.get("status") or ""),
        completed=read_integer(row.get("files_completed")),
        total=read_integer(row.get("files_total")),
        link=link if isinstance(link, str) and link else None,
        valid_until=_read_moment(row.get("valid_until")),
        account=account,
    )


def _read_links(links: Any) -> tuple[str, ...]:
    values = links.values() if isinstance(links, dict) else ()
    hrefs = (value.get("href") for value in values if isinstance(value, dict))
    return tuple(href for href in hrefs if isinstance(href, str))


def _read_moment(value: Any) -> datetime | None:
    try:
        return parse_instant(value) if value else None
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def make_filters(
    start: datetime | None = None,
    end: datetime | None = None,
    direction: str | None = None,
    extension: str | None = None,
    min_duration: float | None = None,
    max_duration: float | None = None,
) -> Mapping[str, Any]:
    """Return the body that starts an export; durations are in seconds. Raises SettingsError."""
    values = {
        "call_direction": direction,
        "extension": extension,
        "duration:gte": None if min_duration is None else round(min_duration * 1000),
        "duration:lte": None if max_duration is None else round(max_duration * 1000),
        "start:gte": start,
        "start:lte": end,
    }
    filters = check_filters({name: value for name, value in values.items() if value is not None})
    bounds = {"start:gte": filters.start, "start:lte": filters.end}
    return {**filters.params, **{name: format_instant(bound) for name, bound in bounds.items() if bound}}


class ExportApi:
    """The export jobs of an account. Its methods raise the faults of `Client`.

    Args:
        client: Sends the requests.
        root: Path of the Call Recording API.
        account: An account id, or `self`.
        user: Owner of the jobs, a user id or `self`. A company export is listed under the user who
            started it, an on-demand export under the user whose recordings it contains.
        login_name: Name of the API user, for one of the two addresses of a zip; None if unknown.
        clock: Monotonic clock, seconds.
        now: Returns the current time.
        sleep: Waits for some seconds; by default the client's own, which `close` ends.
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
        self._company = COMPANY.locate(root, account, None)
        self._rows, self._jobs = ON_DEMAND.locate(root, account, user), JOBS.locate(root, account, user)
        self._user, self._clock, self.now = user, clock, now
        self._sleep = sleep or client.rate_limiter.sleep

    @property
    def _of_user(self) -> str:
        return "" if self._user == SELF else f" of user {_printable(self._user)}"

    def close(self) -> None:
        """Close the client."""
        self.client.close()

    def create(self, filters: Mapping[str, Any], *, company: bool) -> list[str]:
        """Start an export of company recordings, or else the user's, within the API's own `filters`.

        Returns:
            The ids of its jobs, usually one.

        Raises:
            OutcomeUnknown: The export may have been started all the same.
        """
        path = self._company if company else self._rows
        try:
            what = f"start of an export{'' if company else self._of_user}"
            return self.client.post(f"{path}/export", filters, _read_ids, what=what)
        except OutcomeUnknown as fault:
            fault.args = (f"{fault}; see vbc export list before starting another",)
            raise

    def list_jobs(self) -> Iterator[Job]:
        """Yield the jobs of the user, each once, whether the server counts pages from 1 or from 0."""
        number, seen = 1, set[str]()
        while True:
            jobs, total = self._list_page(number)
            new = [job for job in jobs if job.id not in seen]
            seen |= {job.id for job in jobs}
            yield from new
            if len(seen) >= total or number == 0:
                return
            number = number + 1 if new else 0  # jobs missing after the last page may be on page 0

    def _list_page(self, number: int) -> tuple[list[Job], float]:
        def read(body: bytes) -> tuple[list[Job], float]:
            rows, total = read_list(body, "jobs")
            return [read_job(row, self.client.base_url) for row in rows], total

        params: dict[str, str | int] = {"page": number, "page_size": PAGE}
        try:
            return self.client.get(self._jobs, params, read, what=f"list of export jobs{self._of_user}")
        except NotFound as fault:  # some servers answer so after the last page
            if number == 0 or not says_gone(fault):
                raise
            # the total is not known: the list goes on with page 0, which has the rest
            # where pages are counted from 0
            return [], float("inf")

    def show(self, job_id: str) -> Job:
        """Return a job as the API has it now; raises ExportFailed if the user has none with this id."""
        path, title = f"{self._jobs}/{quote(job_id, safe='')}", name_job(job_id)
        try:
            return self.client.get(
                path, None, lambda body: read_job(read_object(body), self.client.base_url), what=title
            )
        except NotFound as fault:
            if not says_gone(fault):
                raise
            owner = "the API user" if self._user == SELF else f"user {self._user}"
            raise ExportFailed(
                f"{title} does not belong to {owner}, or has expired: see vbc export list, give --user for "
                "a job of another user, or start a new one with vbc export create"
            ) from None

    def wait(self, job_ids: Sequence[str], timeout: float = TIMEOUT) -> list[Job]:
        """Poll jobs at growing intervals until all are ready.

        Raises:
            ExportTooSlow: One is not complete after `timeout` seconds.
            ExportFailed: One has no zip.
        """
        started, pause = self._clock(), FIRST_PAUSE
        jobs = {job_id: self.show(job_id) for job_id in job_ids}
        while waiting := [id_ for id_, job in jobs.items() if job.state_at(self.now()) == "waiting"]:
            seconds = min(max(pause, PAUSE_PER_JOB * (len(waiting) - 1)), started + timeout - self._clock())
            progress = [f"{_printable(id_)} is {jobs[id_].progress}" for id_ in waiting[:3]]
            if seconds <= 0:
                raise ExportTooSlow(
                    f"{len(waiting)} of {len(jobs)} export jobs are not complete after {timeout:.0f} s: "
                    + "; ".join(progress)
                )
            for line in progress:
                log.info("export job %s", line)
            self._sleep(seconds)
            # only those that wait: each job is a request, of which a new application has ten a minute
            jobs |= {id_: self.show(id_) for id_ in waiting}
            pause = min(pause * 1.5, LONGEST_PAUSE)
        # by the time of now: a zip that was ready early may have expired while the others were packed
        for job in jobs.values():
            self.check_ready(job)
        return list(jobs.values())

    def check_ready(self, job: Job) -> None:
        """Raise ExportFailed, with the reason, if a job has no zip."""
        state, title = job.state_at(self.now()), name_job(job.id)
        since = f" since {job.valid_until:%Y-%m-%d %H:%M} UTC" if job.valid_until else ""
        reasons = {
            "expired": f"has expired{since}: start a new one with vbc export create",
            "failed": f"has failed at VBC ({job.progress}): start a new one",
            "waiting": f"is not complete ({job.progress}): wait with vbc export wait {_printable(job.id)}",
        }
        if state in reasons:
            raise ExportFailed(f"{title} {reasons[state]}")

    def find_links(self, job: Job) -> list[str]:
        """Return the possible addresses of a job's zip: its own link, then both forms of the reference."""
        base, version1 = self.client.base_url, self._root.removesuffix("/api").removesuffix("/v1") + "/v1"
        by_name = {"job_id": job.id, **({"login_name": self._login_name} if self._login_name else {})}
        documented = [
            f"{base}{self._root}/bulkDownload/retrieve?{urlencode({'jobId': job.id})}",
            f"{base}{version1}/bulkDownload/retrieve?{urlencode(by_name)}",
        ]
        return list(dict.fromkeys(link for link in (job.link, *documented) if link))


def open_exports(user: str | None = None, account: str | None = None) -> ExportApi:
    """Open the export jobs of an account, with the settings of dlt's configuration.

    Args:
        user: Owner of the jobs; the API user unless given.
        account: The account, if the settings list several.

    Raises:
        SettingsError: A setting is missing or malformed; the message names it.
    """
    config = load_config()
    account = config.choose_account(account)
    return ExportApi(
        Client.from_config(config), config.recording_api, account, user or SELF, config.login_name
    )


def name_job(job_id: str) -> str:
    """Return the name of a job in messages."""
    return f"export job {_printable(job_id)}"


def _printable(job_id: str) -> str:
    """Return a job id for a message: a user typed it, so it may contain anything."""
    return "".join(char for char in job_id[:60] if char.isalnum() or char in "-_.")


def _read_ids(body: bytes) -> list[str]:
    value = read_object(body).get("job_ids")
    ids = [value] if isinstance(value, (str, int)) else value
    if not isinstance(ids, list) or not ids:
        raise ValueError("no job_ids")
    return [str(id_) for id_ in ids]
