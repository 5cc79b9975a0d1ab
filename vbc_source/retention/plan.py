"""Plan what a retention policy does: judge every recording, and write down why."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path

import msgspec

from vbc_source.audio.bucket import Bucket
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.errors import UsageError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import load_rows
from vbc_source.recordings import RecordingKey
from vbc_source.retention.decisions import Decision, decide
from vbc_source.retention.facts import RecordingFacts, read_facts
from vbc_source.retention.holds import HOLD_KEY, HOLDS, Hold, HoldPlaces, make_holds_table
from vbc_source.retention.legal_hold import LegalHold, read_legal_hold
from vbc_source.retention.plan_file import FORMAT, PlanEntry, PlanHeader, PlanWriter
from vbc_source.retention.policy import DELETING_ACTIONS, Policy, read_policy
from vbc_source.retention.retain import describe_unmatched, find_unmatched
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)

POLICY = Path("retention.toml")
MOST_STEPS = 20  # shown
BATCH_HOLDS = 2000
BATCH_IDS = 1000  # in one query
NO_RULE = "no rule"
RuleCounts = dict[str, dict[str, int]]


@dataclass(frozen=True, slots=True)
class RetentionPlan:
    """What a policy would do.

    Attributes:
        plan_id: The beginning of the plan's hash.
        out: The file with the plan, or None.
        recordings: Recordings judged.
        actions: Number of recordings by action; `keep` is the number of those that nothing happens to.
        rules: The same by rule; `no rule` is for recordings that none matches.
        held: Recordings on hold that a rule would delete.
        blocked: Recordings that a rule would delete, but that cannot be deleted.
        reasons: Their number by reason.
        steps: What is done to the first few recordings, for people.
        unmatched: Places in the hold list, such as `line 3`, whose entry matches no loaded recording.
        ok: Whether nothing is blocked.
    """

    plan_id: str
    out: str | None = None
    recordings: int = 0
    actions: dict[str, int] = field(default_factory=dict)
    rules: RuleCounts = field(default_factory=dict)
    held: int = 0
    blocked: int = 0
    reasons: dict[str, int] = field(default_factory=dict)
    steps: tuple[str, ...] = ()
    unmatched: tuple[str, ...] = ()
    ok: bool = True

    def summary(self) -> Iterator[str]:
        """Yield the result as lines for people."""
        yield f"Plan {self.plan_id}: {self.recordings:,} recordings."
        yield from write_counts(self.rules)
        yield from self.steps
        if (more := self.recordings - self.actions.get("keep", 0) - len(self.steps)) > 0:
            yield f"… and {more:,} more"
        yield f"Kept although a rule would delete them: {self.held:,} on hold, {self.blocked:,} blocked."
        yield from (f"Blocked: {count:,}: {reason}" for reason, count in self.reasons.items())
        if self.unmatched:
            yield describe_unmatched(self.unmatched)
        if self.out:
            yield f"vbc retention apply --plan {self.out} does exactly this. Nothing is done yet."
        else:
            yield "Nothing is done. --out FILE writes a plan for vbc retention apply."


def write_counts(rules: Mapping[str, Mapping[str, int]]) -> Iterator[str]:
    """Write a line for each rule with what happens to how many recordings."""
    for rule, counts in rules.items():
        yield f"{rule}: {', '.join(f'{name} {count:,}' for name, count in counts.items())}"


@dataclass(frozen=True, slots=True)
class PolicyFiles:
    """A policy and its hold list as they are in their files.

    Attributes:
        policy: The policy.
        path: Its file.
        sha256: The file's hash.
        hold: The hold list; an empty one where the policy names none.
        hold_path: Its file, or None.
        hold_sha256: The file's hash, or None.
    """

    policy: Policy
    path: Path
    sha256: str
    hold: LegalHold
    hold_path: Path | None = None
    hold_sha256: str | None = None


def read_policy_files(path: Path) -> PolicyFiles:
    """Read a policy, and the hold list that it names, relative to its own folder.

    Raises:
        UsageError: A file cannot be read or understood.
    """
    # the plan names it, and may be applied from another folder
    path = path.absolute()
    # read once: the hash is that of the bytes which were understood
    content = _read(path, "retention policy")
    policy = read_policy(content)
    sha256 = hashlib.sha256(content).hexdigest()
    if policy.hold is None:
        return PolicyFiles(policy, path, sha256, LegalHold())
    hold_path = path.parent / policy.hold
    entries = _read(hold_path, "hold list")
    hold_sha256 = hashlib.sha256(entries).hexdigest()
    return PolicyFiles(policy, path, sha256, read_legal_hold(entries), hold_path, hold_sha256)


def _read(path: Path, what: str) -> bytes:
    try:
        return path.read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise UsageError(f"{what} {path} cannot be read: {reason}") from None


def plan_retention(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    policy: Path = POLICY,
    out: Path | None = None,
    bucket_url: str | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> RetentionPlan:
    """Plan what a policy does to each loaded recording. No file and no recording is touched.

    The ledger `recording_holds` is brought up to date with the hold list.

    Args:
        target: Where the recordings are loaded.
        policy: The file with the policy.
        out: Where to write the plan; nowhere if None.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.
        now: Returns the current time.

    Returns:
        What the policy would do, by rule, and the id of the plan.

    Raises:
        UsageError: The policy, its hold list or `out` is not usable.
        SettingsError: A setting is missing or malformed; the message names it.
    """
    files = read_policy_files(policy)
    with open_archive(target, bucket_url) as session:
        loaded = open_tables(target)
        loaded.refresh()
        unmatched = find_unmatched(loaded, files.hold) if files.hold.names else ()
        header = _make_header(files, session, now())
        writer = PlanWriter(out, header)
        try:
            run = _PlanRun(session, files, header.made_at)
            for facts in read_facts(loaded, files.policy.rules, header.made_at):
                writer.write(run.judge(facts))
            # before the plan has its name: there is no plan whose holds the ledger lacks
            run.holds.load()
            return run.make_result(writer.close(), out, unmatched)
        except BaseException:
            writer.discard()
            raise


def find_kept(
    loaded: LoadedTables, policy: Policy, ids: Collection[int], now: datetime
) -> Iterator[tuple[RecordingKey, str]]:
    """Yield those loaded recordings, of some ids, that a rule keeps: the key, and the name of the rule."""
    ordered = sorted(ids)
    for first in range(0, len(ordered), BATCH_IDS):
        for facts in read_facts(loaded, policy.rules, now, ids=ordered[first : first + BATCH_IDS]):
            rule = policy.rules[facts.rule - 1] if facts.rule else None
            if rule and "keep" in rule.actions:
                yield facts.key, rule.name


def open_tables(target: Target) -> LoadedTables:
    """Open the tables that plans are made of."""
    # not watched: else each query would look again for ledgers that need not exist
    return LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA), watch=False)


def describe_destination(session: ArchiveSession) -> str:
    """Return a digest of where the recordings are loaded."""
    pipeline = session.pipeline
    place = f"{pipeline.pipeline_name} {pipeline.dataset_name} {pipeline.destination_client().config}"
    return hashlib.sha256(place.encode()).hexdigest()[:16]


def _make_header(files: PolicyFiles, session: ArchiveSession, made_at: datetime) -> PlanHeader:
    return PlanHeader(
        format=FORMAT,
        made_at=made_at,
        policy=str(files.path),
        policy_sha256=files.sha256,
        hold=str(files.hold_path) if files.hold_path else None,
        hold_sha256=files.hold_sha256,
        destination=describe_destination(session),
        dataset=session.pipeline.dataset_name or "",
        bucket_url=session.archive.bucket.url,
    )


class Judge:
    """Judges recordings by a policy and its hold list."""

    def __init__(self, files: PolicyFiles, bucket: Bucket) -> None:
        self._rules, self._places, self._bucket = files.policy.rules, HoldPlaces(files.hold), bucket

    def find_hold(self, facts: RecordingFacts) -> str | None:
        """Return the place of the entry that holds a recording, also by its call when it was archived."""
        one = facts.candidate
        # not None where it was never archived: an unknown call is one that any entry may mean
        return self._places.find(one.recording_id, one.call_id, one.archived_call_id or one.call_id)

    def decide(self, facts: RecordingFacts) -> Decision:
        """Decide what is to be done with a recording."""
        rule = self._rules[facts.rule - 1] if facts.rule else None
        key = self._bucket.key_of(facts.candidate.uri or "")
        return decide(facts, rule, self.find_hold(facts), key)


class _PlanRun:
    def __init__(self, session: ArchiveSession, files: PolicyFiles, made_at: datetime) -> None:
        self._judge = Judge(files, session.archive.bucket)
        self.holds = _HoldChanges(session, made_at)
        self._rules: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for rule in files.policy.rules:  # in their order, also those that match nothing now
            self._rules[rule.name]["keep"] = 0
        self._counts, self._reasons = Counter[str](), Counter[str]()
        self._steps: list[str] = []

    def judge(self, facts: RecordingFacts) -> PlanEntry:
        decision = self._judge.decide(facts)
        self.holds.note(facts, self._judge.find_hold(facts))
        self._count(facts, decision)
        return make_entry(facts, decision)

    def _count(self, facts: RecordingFacts, decision: Decision) -> None:
        self._counts["recordings"] += 1
        self._rules[decision.rule or NO_RULE].update(decision.actions or ("keep",))
        self._counts["held"] += decision.held is not None
        if decision.blocked:
            self._reasons[decision.blocked] += 1
        if decision.actions and len(self._steps) < MOST_STEPS:
            one = facts.candidate
            actions = " and ".join(decision.actions)
            self._steps.append(f"{one.title} of {one.began:%Y-%m-%d}: {actions}, by rule {decision.rule}")

    def make_result(self, plan_id: str, out: Path | None, unmatched: tuple[str, ...]) -> RetentionPlan:
        total = Counter[str]()
        for counts in self._rules.values():
            total.update(counts)
        return RetentionPlan(
            plan_id,
            str(out) if out else None,
            self._counts["recordings"],
            # a unary plus leaves out what is zero
            dict(+total),
            {
                rule: {name: n for name, n in counts.items() if n} or {"keep": 0}
                for rule, counts in self._rules.items()
            },
            self._counts["held"],
            self._reasons.total(),
            dict(self._reasons),
            tuple(self._steps),
            unmatched,
            ok=not self._reasons,
        )


def make_entry(facts: RecordingFacts, decision: Decision) -> PlanEntry:
    """Make the line of a recording; the facts are in it where something is to be done."""
    one = facts.candidate
    entry = PlanEntry(
        account_id=one.account_id,
        recording_type=one.recording_type,
        user_id=one.user_id,
        recording_id=one.recording_id,
        rule=decision.rule,
        held=decision.held,
        blocked=decision.blocked,
    )
    # short: every recording has a line, and most are kept
    if not decision.actions:
        return entry
    return msgspec.structs.replace(
        entry,
        actions=decision.actions,
        start=one.began,
        call_id=one.call_id,
        listed_bytes=one.listed_bytes,
        uri=one.uri,
        size_bytes=one.size_bytes,
        sha256=one.sha256,
        digest=facts.digest(with_file=not set(decision.actions).isdisjoint(DELETING_ACTIONS)),
    )


class _HoldChanges:
    """Loads into the ledger of holds what has changed since the last plan."""

    def __init__(self, session: ArchiveSession, made_at: datetime) -> None:
        self._session, self._made_at = session, made_at
        self._rows: list[Hold] = []

    def note(self, facts: RecordingFacts, place: str | None) -> None:
        """Compare a recording with the ledger."""
        one = facts.candidate
        key = one.account_id, one.recording_type, one.user_id, one.recording_id
        if place and not facts.held_at:
            self._rows.append(Hold(*key, self._made_at, place))
        elif facts.held_at and not place:
            # under the key of the hold, whose row it replaces where rows are merged
            self._rows.append(Hold(*key, facts.held_at, facts.held_place or "", self._made_at))
        if len(self._rows) >= BATCH_HOLDS:
            self.load()

    def load(self) -> None:
        """Load the rows that wait."""
        if self._rows:
            with self._session.loaded.lock(), explaining():
                load_rows(self._session.pipeline, HOLDS, make_holds_table(self._rows), "merge", HOLD_KEY)
        self._rows = []
