"""Apply a retention plan: exactly what it says, or nothing where it no longer fits."""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from vbc_source.api.clock import TOLERANCE
from vbc_source.audio.archive_audio import AudioRun
from vbc_source.audio.backlog import Backlog
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.audio.sidecars.missing_sidecars import write_missing_sidecars
from vbc_source.errors import UsageError
from vbc_source.load.destinations import Target
from vbc_source.recordings import RecordingKey
from vbc_source.retention.decisions import is_done
from vbc_source.retention.deletion_run import BATCH as DELETION_BATCH
from vbc_source.retention.deletion_run import DeletionRun
from vbc_source.retention.erasure_run import ErasureRun
from vbc_source.retention.facts import RecordingFacts, read_facts
from vbc_source.retention.plan import (
    Judge,
    PolicyFiles,
    RuleCounts,
    describe_destination,
    open_tables,
    read_policy_files,
    write_counts,
)
from vbc_source.retention.plan_file import PlanEntry, PlanHeader, PlanReader, PlanRefused
from vbc_source.retention.policy import DELETING_ACTIONS, Action
from vbc_source.warehouse.recordings import RecordingSelection

log = logging.getLogger(__name__)

BATCH = 5000  # entries of the plan
MOST_NAMED = 10  # recordings in a message


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What was done of a plan.

    Attributes:
        applied: The id of the plan.
        archived: Recordings archived.
        deleted: Recordings deleted at VBC.
        gone: Recordings that were already deleted there.
        erased: Recordings whose files were deleted from the archive.
        done: Actions that an earlier run had done already.
        missing: Recordings to archive whose audio is gone at VBC.
        blocked: Recordings whose files the bucket refuses to delete.
        unproven: Recordings not deleted, since their file differs from the ledger.
        failed: Recordings with an action that failed, or that changed meanwhile.
        rules: The same numbers by rule.
        ok: Whether nothing was blocked, unproven or failed.
    """

    applied: str
    archived: int = 0
    deleted: int = 0
    gone: int = 0
    erased: int = 0
    done: int = 0
    missing: int = 0
    blocked: int = 0
    unproven: int = 0
    failed: int = 0
    rules: RuleCounts = field(default_factory=dict)
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield (
            f"Plan {self.applied}: {self.archived:,} recordings archived, {self.deleted:,} deleted at VBC, "
            f"{self.gone:,} already gone there, {self.erased:,} deleted from the archive, {self.done:,} "
            "actions done before."
        )
        yield (
            f"Not done: {self.failed:,} failed, {self.unproven:,} without proof, {self.blocked:,} refused by "
            f"the bucket, {self.missing:,} missing at VBC."
        )
        yield from write_counts(self.rules)


def apply_retention(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    plan: Path,
    bucket_url: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> ApplyResult:
    """Do what a plan says, if it still fits. After a kill or a failure, the same plan continues.

    Args:
        target: Where the recordings are loaded.
        plan: The file with the plan.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.
        now: Returns the current time.

    Returns:
        What was done, and what was left and why.

    Raises:
        PlanRefused: The plan was edited, is too old, is of another place, or does not fit any more: the
            policy, its hold list or a recording has changed. Nothing is done then.
        SettingsError: A setting is missing or malformed; the message names it.
        WrongClock: This machine's clock differs from the gateway's.
        VbcError: The run stopped. What was done until then is in the ledgers.
    """
    with PlanReader(plan) as reader:
        files = _read_same_policy(reader.header)
        _check_age(reader.header, files, now())
        with open_archive(target, bucket_url) as session:
            _check_place(reader.header, session)
            run = _ApplyRun(session, target, files, reader, now)
            # the whole plan is judged before its first action: exactly what it says, or nothing
            if changed := [entry.title for entry in run.find_changed()]:
                raise PlanRefused(_describe_changed(changed))
            return run.apply()


def _read_same_policy(header: PlanHeader) -> PolicyFiles:
    try:
        files = read_policy_files(Path(header.policy))
    except PlanRefused:
        raise
    except UsageError as error:
        raise PlanRefused(str(error)) from None
    if files.sha256 != header.policy_sha256:
        raise PlanRefused("the policy has changed since; make a new plan")
    hold = str(files.hold_path) if files.hold_path else None
    if (hold, files.hold_sha256) != (header.hold, header.hold_sha256):
        raise PlanRefused("the hold list has changed since; make a new plan")
    return files


def _check_age(header: PlanHeader, files: PolicyFiles, now: datetime) -> None:
    age, days = now - header.made_at, files.policy.plan_valid_days
    # it may come from a machine whose clock is ahead by what is tolerated
    if age < -TOLERANCE:
        raise PlanRefused("it was made in the future: set the clock, and make a new plan")
    if age > timedelta(days=days):
        raise PlanRefused(f"it is {age.days} days old, and valid for {days}; make a new plan")


def _check_place(header: PlanHeader, session: ArchiveSession) -> None:
    if header.bucket_url != session.archive.bucket.url:
        raise PlanRefused(f"it is for the bucket {header.bucket_url}, not {session.archive.bucket.url}")
    if (header.dataset, header.destination) != (
        session.pipeline.dataset_name,
        describe_destination(session),
    ):
        raise PlanRefused("it was made for another destination, dataset or pipeline")


def _describe_changed(titles: Sequence[str]) -> str:
    more = ", …" if len(titles) > MOST_NAMED else ""
    named = f"{', '.join(titles[:MOST_NAMED])}{more}"
    return f"{len(titles):,} of its recordings have changed since: {named}; make a new plan"


class _Step(NamedTuple):
    """An entry of the plan with what is left to do; None of the facts where the recording changed."""

    entry: PlanEntry
    facts: RecordingFacts | None
    open: tuple[Action, ...]


class _ApplyRun:
    def __init__(
        self,
        session: ArchiveSession,
        target: Target,
        files: PolicyFiles,
        plan: PlanReader,
        now: Callable[[], datetime],
    ) -> None:
        self._session, self._files, self._plan, self._now = session, files, plan, now
        self._loaded = open_tables(target)
        self._judge = Judge(files, session.archive.bucket)
        self._rules: defaultdict[str, Counter[str]] = defaultdict(Counter)

    def find_changed(self) -> Iterator[PlanEntry]:
        """Yield the entries that are not done and no longer fit."""
        entries = self._plan.read()
        while batch := list(islice(entries, BATCH)):
            yield from (step.entry for step in self._read_steps(batch) if not step.facts)

    def apply(self) -> ApplyResult:
        """Do the plan, batch by batch."""
        entries = self._plan.read()
        with ThreadPoolExecutor(self._session.config.max_concurrency) as pool:
            deletions = DeletionRun(self._session, pool, self._now)
            erasures = ErasureRun(self._session, self._loaded, pool)
            while batch := list(islice(entries, BATCH)):
                steps = list(self._read_steps(batch))
                self._count_before(steps)
                self._archive([step.entry for step in steps if "archive" in step.open and step.facts])
                steps = [
                    step for step in steps if step.facts and not set(step.open).isdisjoint(DELETING_ACTIONS)
                ]
                # small batches: a file is to be read right before its recording is deleted
                for first in range(0, len(steps), DELETION_BATCH):
                    self._delete(steps[first : first + DELETION_BATCH], deletions, erasures)
                log.info("retention: %s", dict(self._total()))
        total = self._total()
        if total["archived"]:
            write_missing_sidecars(self._session)
        rules = {rule: dict(counts) for rule, counts in self._rules.items()}
        ok = not (total["failed"] or total["unproven"] or total["blocked"])
        return ApplyResult(self._plan.id, **total, rules=rules, ok=ok)

    def _total(self) -> Counter[str]:
        total = Counter[str]()
        for counts in self._rules.values():
            total.update(counts)
        return total

    def _count(self, entry: PlanEntry, outcome: str) -> None:
        self._rules[entry.rule or ""][outcome] += 1

    def _read_facts(self, batch: Sequence[PlanEntry]) -> dict[RecordingKey, RecordingFacts]:
        starts = [entry.start for entry in batch if entry.start]
        # a plan is in the order of `start`, so that a batch needs one span of the table
        selection = RecordingSelection(since=min(starts), until=max(starts))
        ids = {entry.recording_id for entry in batch}
        self._loaded.refresh()  # ledgers that this run makes
        # by the age when the plan was made: else a rule could match more while the plan is applied
        rules, made_at = self._files.policy.rules, self._plan.header.made_at
        return {facts.key: facts for facts in read_facts(self._loaded, rules, made_at, selection, ids)}

    def _read_steps(self, batch: Sequence[PlanEntry]) -> Iterator[_Step]:
        facts = self._read_facts(batch)
        return (self._judge_step(entry, facts.get(entry.key)) for entry in batch)

    def _judge_step(self, entry: PlanEntry, facts: RecordingFacts | None) -> _Step:
        if facts is None:
            return _Step(entry, None, entry.actions)
        left = tuple(action for action in entry.actions if not is_done(action, facts))
        decision = self._judge.decide(facts)
        # what is only to be archived rests on no file yet
        with_file = not set(entry.actions).isdisjoint(DELETING_ACTIONS)
        fits = (
            decision.rule == entry.rule
            and set(left) <= set(decision.actions)
            and facts.digest(with_file=with_file) == entry.digest
        )
        # where nothing is left to do, the facts differ because it was done
        return _Step(entry, facts if fits or not left else None, left)

    def _count_before(self, steps: Sequence[_Step]) -> None:
        """Count what an earlier run has done, and what has changed since the plan was checked."""
        for step in steps:
            if done := len(step.entry.actions) - len(step.open):
                self._rules[step.entry.rule or ""]["done"] += done
            if not step.facts:
                log.warning("%s has changed since the plan was checked", step.entry.title)
                self._count(step.entry, "failed")

    def _archive(self, entries: Sequence[PlanEntry]) -> None:
        if not entries:
            return
        keys = {entry.key for entry in entries}
        backlog = Backlog(
            self._session.loaded,
            RecordingSelection(),
            self._session.config.max_attempts,
            self._now(),
            only=keys,
        )
        AudioRun(self._session, backlog, None).run()
        facts = self._read_facts(entries)
        for entry in entries:
            one = facts.get(entry.key)
            if one is None or not one.is_final:
                self._count(entry, "failed")
            else:
                self._count(entry, "archived" if one.files else "missing")

    def _delete(self, steps: Sequence[_Step], deletions: DeletionRun, erasures: ErasureRun) -> None:
        candidates = {step.facts.key: step.facts.candidate for step in steps if step.facts}
        # also before deletions in the archive alone: ages depend on the clock
        deletions.check_clock(next(iter(candidates.values())))
        absent = {step.entry.key for step in steps if step.facts and step.facts.gone}
        at_vbc = [step.entry for step in steps if "delete_at_vbc" in step.open]
        if at_vbc:
            proofs = deletions.prove([candidates[entry.key] for entry in at_vbc])
            outcomes: dict[RecordingKey, str] = {
                (row.account_id, row.recording_type, row.user_id, row.recording_id): row.status
                for row in deletions.delete(proofs)
            }
            for entry in at_vbc:
                self._count(entry, outcomes.get(entry.key, "unproven"))
            absent |= {key for key, status in outcomes.items() if status in ("deleted", "gone")}
        # never while VBC may still have it
        due = [step for step in steps if "delete_archive" in step.open and step.entry.key in absent]
        if due:
            self._erase(due, erasures)

    def _erase(self, steps: Sequence[_Step], erasures: ErasureRun) -> None:
        reasons = [f"deleted by the retention rule {step.entry.rule}, plan {self._plan.id}" for step in steps]
        outcomes = erasures.erase([step.facts for step in steps if step.facts], reasons)
        for step, outcome in zip(steps, outcomes, strict=True):
            self._count(step.entry, outcome)
