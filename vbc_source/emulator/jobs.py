"""The export jobs of an account."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random
from typing import Any
from uuid import UUID

from vbc_source.emulator.files import File
from vbc_source.emulator.rows import DEFAULT_PREFIX
from vbc_source.emulator.scene import Scene
from vbc_source.emulator.times import DAY, format_time, parse_moment
from vbc_source.emulator.users import Users

Fields = dict[str, Any]

PENDING, RUNNING, COMPLETE = "pending", "in_progress", "complete"
PARTLY, EXPIRED = "partially_complete", "expired"
_FINISHED = (COMPLETE, PARTLY)
VALID_DAYS = 7
_PENDING_SHARE = 0.2


@dataclass(slots=True)
class Job:
    """An export job.

    Attributes:
        id: As paths have it.
        user: Who started it.
        created: Epoch seconds.
        seconds: How long it takes.
        files: What it exports, and what its archive holds in the end.
        total: How many files it says it exports.
        partly: It ends with one file missing.
        given: Fields given by a test, which stay as they are.
    """

    id: str
    user: str
    created: float
    seconds: float
    files: tuple[File, ...]
    total: int
    partly: bool = False
    given: Fields = field(default_factory=dict)

    @property
    def missing(self) -> int:
        """How many files will be missing in the end."""
        return 1 if self.partly and self.total else 0

    def find_status(self, now: float) -> str:
        """Tell how far the job is; whether it has expired is another question."""
        if "status" in self.given:
            return str(self.given["status"])
        if now >= self.created + self.seconds:
            return PARTLY if self.missing else COMPLETE
        return PENDING if now < self.created + self.seconds * _PENDING_SHARE else RUNNING

    def is_finished(self, now: float) -> bool:
        """Whether there is an archive, or was until it expired."""
        return self.find_status(now).lower() in _FINISHED

    def count_files(self, now: float) -> int:
        """Count the files completed so far."""
        status = self.find_status(now)
        if self.is_finished(now) or now >= self.created + self.seconds:
            return self.total - (1 if status == PARTLY and self.total else self.missing)
        waited = self.seconds * _PENDING_SHARE
        done = self.total * (now - self.created - waited) / (self.seconds - waited)
        return 0 if status == PENDING else max(0, int(done))

    def find_end(self, now: float) -> float | None:
        """Tell when its archive ceases to be there, in epoch seconds; None while there is none."""
        if "valid_until" in self.given:
            moment = parse_moment(self.given["valid_until"])
            return None if moment is None else moment / 1000
        if not self.is_finished(now):
            return None
        return self.created + self.seconds + VALID_DAYS * DAY

    def has_expired(self, now: float) -> bool:
        """Tell whether its archive is no longer there."""
        end = self.find_end(now)
        return end is not None and now >= end

    def show(self, root: str, account_id: str, now: float) -> Fields:
        """Make the row as the API lists it."""
        status, end = self.find_status(now), self.find_end(now)
        href = f"{root}/accounts/{account_id}/users/{self.user}/call_recordings/jobs/{self.id}"
        url = f"{root}/bulkDownload/retrieve?jobId={self.id}"
        row = {
            "_links": {"self": {"href": href}},
            "download_url": url if self.is_finished(now) else None,
            "files_completed": self.count_files(now),
            "files_total": self.total,
            "id": self.id,
            "status": status,
            "valid_until": None if end is None else format_time(int(end)),
        }
        row.update(deepcopy(self.given))
        return {**row, "status": EXPIRED} if self.has_expired(now) else row


class Jobs:
    """The export jobs of one account; safe to use from several threads."""

    def __init__(
        self,
        scene: Scene,
        account_id: str,
        rng: Random,
        users: Users,
        has: Callable[[str], bool],
    ) -> None:
        """Begin with none.

        Args:
            scene: Where links point, the time, the lock, and how long jobs take.
            account_id: Whose jobs they are.
            rng: Where ids come from.
            users: Who may start jobs.
            has: Tells whether a habit is on.
        """
        self._scene = scene
        self._account_id = account_id
        self._rng = rng
        self._users = users
        self._has = has
        self._jobs: dict[str, Job] = {}

    def start(self, user: str, files: tuple[File, ...], *, partly: bool = False) -> Job:
        """Start a job.

        Args:
            user: Who starts it.
            files: What it exports.
            partly: It ends with one file missing.
        """
        with self._scene.lock:
            id = str(UUID(int=self._rng.getrandbits(128), version=4))  # noqa: A001 - the API's name
            job = Job(id, user, self._scene.clock(), self._scene.job_seconds, files, len(files), partly)
            self._jobs[id] = job
            return job

    def add(self, user: int | str | None = None, **fields: Any) -> Fields:
        """Put a job in directly.

        Args:
            user: Whose it is; the API user's when not given.
            **fields: Stay as they are given; the others follow the clock and the status.

        Returns:
            The row as the API lists it.

        Raises:
            ValueError: There is a job of that id.
        """
        with self._scene.lock:
            if str(fields.get("id")) in self._jobs:
                raise ValueError(f"there is a job {fields['id']}")
            owner = self._users.resolve("self" if user is None else str(user))
            job = self.start(owner, (), partly=self._has("jobs-partly"))
            if "id" in fields:
                del self._jobs[job.id]
                job.id = str(fields["id"])
                self._jobs[job.id] = job
            return self.change(job.id, **{name: value for name, value in fields.items() if name != "id"})

    def change(self, id: str, **fields: Any) -> Fields:  # noqa: A002 - the API's name
        """Change fields of a job, which then stay as they are given, and return the row.

        Raises:
            KeyError: There is none of that id.
        """
        with self._scene.lock:
            job = self._jobs[id]
            job.given.update(deepcopy(fields))
            total = job.given.get("files_total")
            job.total = total if isinstance(total, int) else job.total
            return self._show(job)

    def remove(self, id: str) -> None:  # noqa: A002
        """Remove a job.

        Raises:
            KeyError: There is none of that id.
        """
        with self._scene.lock:
            del self._jobs[id]

    def all(self, user: int | str | None = None) -> list[Fields]:
        """Make the rows as the API lists them now, newest first; those of one user or of all."""
        owner = None if user is None else self._users.resolve(str(user))
        return self.select(owner, keep_expired=self._has("expired-listed"))

    def select(self, user: str | None, *, keep_expired: bool = False) -> list[Fields]:
        """Make the rows, newest first.

        Args:
            user: Whose; None for everybody's.
            keep_expired: With those whose archive is no longer there.
        """
        with self._scene.lock:
            jobs = [job for job in self._jobs.values() if user in (None, job.user)]
            now = self._scene.clock()
            return [self._show(job) for job in reversed(jobs) if keep_expired or not job.has_expired(now)]

    def find(self, id: str) -> Job | None:  # noqa: A002
        """Look up a job, expired or not."""
        with self._scene.lock:
            return self._jobs.get(id)

    def _show(self, job: Job) -> Fields:
        return job.show(self._scene.base_url + DEFAULT_PREFIX, self._account_id, self._scene.clock())
