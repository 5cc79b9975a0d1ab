"""Export jobs of an account."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from vbc_source.emulator.data.audio import AudioFile
from vbc_source.emulator.data.dates import DAY, format_time, parse_timestamp
from vbc_source.emulator.data.environment import Environment
from vbc_source.emulator.data.people import Fields
from vbc_source.emulator.data.stored_recording import DEFAULT_PREFIX
from vbc_source.emulator.data.users import Users

# The vendor documents "complete" only; clients must accept any other status as well.
PENDING, IN_PROGRESS, COMPLETE = "pending", "in_progress", "complete"
PARTIALLY_COMPLETE, EXPIRED = "partially_complete", "expired"
_FINISHED = (COMPLETE, PARTIALLY_COMPLETE)
VALID_DAYS = 7  # an assumption: the vendor documents that archives expire, not when
_PENDING_SHARE = 0.2


@dataclass(slots=True)
class StoredJob:
    """An export job.

    Attributes:
        id: Id in paths.
        user: Id of the user who started it.
        created: Epoch seconds.
        seconds: Duration.
        files: Files of its archive.
        total: Number of files that the API reports.
        partial: Whether it ends with one file missing.
        overrides: Fields set by a test, returned unchanged.
    """

    id: str
    user: str
    created: float
    seconds: float
    files: tuple[AudioFile, ...]
    total: int
    partial: bool = False
    overrides: Fields = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """Number of files that are missing in the end."""
        return 1 if self.partial and self.total else 0

    def get_status(self, now: float) -> str:
        """Return the status, regardless of whether the archive has expired."""
        if "status" in self.overrides:
            return str(self.overrides["status"])
        if now >= self.created + self.seconds:
            return PARTIALLY_COMPLETE if self.missing else COMPLETE
        return PENDING if now < self.created + self.seconds * _PENDING_SHARE else IN_PROGRESS

    def is_finished(self, now: float) -> bool:
        """Check whether the archive exists, or existed until it expired."""
        return self.get_status(now).lower() in _FINISHED

    def count_files(self, now: float) -> int:
        """Count the files completed so far."""
        status = self.get_status(now)
        # A test may set a status that never finishes; its files are complete all the same.
        if self.is_finished(now) or now >= self.created + self.seconds:
            return self.total - (1 if status == PARTIALLY_COMPLETE and self.total else self.missing)
        pending_seconds = self.seconds * _PENDING_SHARE
        done = self.total * (now - self.created - pending_seconds) / (self.seconds - pending_seconds)
        return 0 if status == PENDING else max(0, int(done))

    def get_expiry(self, now: float) -> float | None:
        """Return when the archive expires, in epoch seconds; None while there is none."""
        if "valid_until" in self.overrides:
            milliseconds = parse_timestamp(self.overrides["valid_until"])
            return None if milliseconds is None else milliseconds / 1000
        if not self.is_finished(now):
            return None
        return self.created + self.seconds + VALID_DAYS * DAY

    def has_expired(self, now: float) -> bool:
        """Check whether the archive has expired."""
        expiry = self.get_expiry(now)
        return expiry is not None and now >= expiry

    def to_row(self, root: str, account_id: str, now: float) -> Fields:
        """Return the job as the API lists it."""
        expiry = self.get_expiry(now)
        href = f"{root}/accounts/{account_id}/users/{self.user}/call_recordings/jobs/{self.id}"
        url = f"{root}/bulkDownload/retrieve?jobId={self.id}"
        row = {
            "_links": {"self": {"href": href}},
            "download_url": url if self.is_finished(now) else None,
            "files_completed": self.count_files(now),
            "files_total": self.total,
            "id": self.id,
            "status": self.get_status(now),
            "valid_until": None if expiry is None else format_time(int(expiry)),
        }
        row.update(deepcopy(self.overrides))
        # checked after the status that a test has set: every archive expires
        return {**row, "status": EXPIRED} if self.has_expired(now) else row


class Jobs:
    """Export jobs of one account. Thread-safe."""

    def __init__(
        self,
        environment: Environment,
        account_id: str,
        rng: Random,
        users: Users,
        has_fault: Callable[[str], bool],
    ) -> None:
        """Create an empty list of jobs.

        Args:
            environment: Address, clock and lock of the gateway, and the duration of jobs.
            account_id: Id of the account.
            rng: Source of job ids.
            users: Users of the account.
            has_fault: Checks whether a fault is active.
        """
        self._environment = environment
        self._lock = environment.lock
        self._account_id = account_id
        self._rng = rng
        self._users = users
        self._has_fault = has_fault
        self._jobs: dict[str, StoredJob] = {}

    def start(self, user: str, files: tuple[AudioFile, ...], *, partial: bool = False) -> StoredJob:
        """Start a job.

        Args:
            user: Id of the user who starts it.
            files: Files of its archive.
            partial: Whether it ends with one file missing.
        """
        environment = self._environment
        with self._lock:
            # drawn from the seed: `uuid4` would give other ids in each run
            id = str(UUID(int=self._rng.getrandbits(128), version=4))  # noqa: A001 - the API's name
            job = StoredJob(
                id, user, environment.clock(), environment.job_seconds, files, len(files), partial
            )
            self._jobs[id] = job
            return job

    def add(self, user: int | str | None = None, **fields: Any) -> Fields:
        """Add a job directly.

        Args:
            user: Id of the user who started it; the API user by default.
            **fields: Kept unchanged; the others follow the clock and the status.

        Returns:
            The job as the API lists it.

        Raises:
            ValueError: The id exists already.
        """
        with self._lock:
            if str(fields.get("id")) in self._jobs:
                raise ValueError(f"job {fields['id']} exists already")
            owner = self._users.resolve("self" if user is None else str(user))
            job = self.start(owner, (), partial=self._has_fault("jobs-partly"))
            if "id" in fields:
                del self._jobs[job.id]
                job.id = str(fields["id"])
                self._jobs[job.id] = job
            return self.change(job.id, **{name: value for name, value in fields.items() if name != "id"})

    def change(self, id: str, **fields: Any) -> Fields:  # noqa: A002 - the API's name
        """Set fields of a job, which no longer follow the clock, and return the job.

        Raises:
            KeyError: There is no such job.
        """
        with self._lock:
            job = self._jobs[id]
            job.overrides.update(deepcopy(fields))
            total = job.overrides.get("files_total")
            job.total = total if isinstance(total, int) else job.total
            return self._to_row(job)

    def remove(self, id: str) -> None:  # noqa: A002
        """Remove a job.

        Raises:
            KeyError: There is no such job.
        """
        with self._lock:
            del self._jobs[id]

    def all(self, user: int | str | None = None) -> list[Fields]:
        """Return the jobs of one user or of all as the API lists them, newest first."""
        owner = None if user is None else self._users.resolve(str(user))
        return self.select(owner, keep_expired=self._has_fault("expired-listed"))

    def select(self, user: str | None, *, keep_expired: bool = False) -> list[Fields]:
        """Return jobs as the API lists them, newest first.

        Args:
            user: Id of the user who started them; None for all users.
            keep_expired: Include those whose archive has expired.
        """
        with self._lock:
            jobs = [job for job in self._jobs.values() if user in (None, job.user)]
            now = self._environment.clock()
            return [self._to_row(job) for job in reversed(jobs) if keep_expired or not job.has_expired(now)]

    def find(self, id: str) -> StoredJob | None:  # noqa: A002
        """Look up a job, expired or not."""
        with self._lock:
            return self._jobs.get(id)

    def _to_row(self, job: StoredJob) -> Fields:
        environment = self._environment
        return job.to_row(environment.base_url + DEFAULT_PREFIX, self._account_id, environment.clock())
