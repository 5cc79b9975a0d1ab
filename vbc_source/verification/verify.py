"""Answers "are we missing any?": compares what VBC has with what is loaded, and puts it right if asked to."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone

from vbc_source.api.client import Client
from vbc_source.api.endpoints import COMPANY, ON_DEMAND, Endpoint
from vbc_source.audio.ledger import LEDGER
from vbc_source.config import SELF, VbcConfig, load_config
from vbc_source.errors import Forbidden, VbcError
from vbc_source.extract.accounts import AccountDirectory
from vbc_source.extract.lists import ListOwner, ListReader
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.recordings import TYPES, RecordingType
from vbc_source.verification.findings import ComparisonResult, DifferingSpan, ListTotal
from vbc_source.verification.lateness import Lateness, measure_lateness
from vbc_source.verification.survey import ComparisonPlan, ListsComparison
from vbc_source.warehouse.completeness import (
    Gap,
    RecordingList,
    find_first_start,
    find_gaps,
    read_proven_spans,
)
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import TABLES
from vbc_source.warehouse.views import write_view
from vbc_source.windows import Window, floor_second

log = logging.getLogger(__name__)

ENDPOINTS: dict[RecordingType, Endpoint] = {"company": COMPANY, "user": ON_DEMAND}


@dataclass(slots=True)
class VerifyResult:
    """What a verification has found.

    Attributes:
        ok: whether nothing differs, or nothing any more.
        since: from which `start` on.
        until: up to which `start`; newer ones are compared too where that is asked for, or some are loaded.
        compared: recordings at VBC in that span, of all lists that could be read.
        missing: recordings at VBC that were not loaded, and that no sync would have brought.
        gone: recordings that were loaded and are not at VBC any more.
        returned: recordings that were tombstoned and are at VBC again.
        waiting: recordings so recent that the next sync brings them.
        loaded: recordings that this run loaded.
        tombstoned: recordings that this run marked as gone.
        unconfirmed: recordings not listed by VBC, of which it could not be shown that they are gone.
        spans: what differs, or differed.
        totals: of each list.
        left_out: types of recordings that were never loaded, and are not compared.
        without_audio: recordings whose audio is not archived; None where nothing is archived.
        gaps: spans that no run has read and proven complete.
        lateness: how late recordings arrive; None while that is not known.
        lookback_hours: the source's setting, to compare that with.
        requests: sent to the gateway, logins not counted.
        seconds: how long it took.
    """

    ok: bool
    since: datetime
    until: datetime
    compared: int = 0
    missing: int = 0
    gone: int = 0
    returned: int = 0
    waiting: int = 0
    loaded: int = 0
    tombstoned: int = 0
    unconfirmed: int = 0
    spans: list[DifferingSpan] = field(default_factory=list)
    totals: list[ListTotal] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)
    without_audio: int | None = None
    gaps: list[Gap] = field(default_factory=list)
    lateness: Lateness | None = None
    lookback_hours: float = 0.0
    requests: int = 0
    seconds: float = 0.0

    def summary(self) -> Iterator[str]:
        """Describe the result in lines for people."""
        from vbc_source.verification.report import summarize

        return summarize(self)


def verify(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    types: Sequence[RecordingType] = (),
    deep: bool = False,
    repair: bool = False,
) -> VerifyResult:
    """Compare what VBC has with what is loaded.

    Args:
        target: Where the recordings are loaded.
        since: oldest `start`; unless given, the source's `start_date`, or where what was read begins.
        until: newest `start`; now unless given.
        types: which recordings; those that were ever loaded unless given.
        deep: compare ids everywhere, not only where counts differ.
        repair: load what is missing, and mark what is gone.

    Raises:
        VbcError: what stopped it, in words for the person who can act.
    """
    began, now = time.monotonic(), datetime.now(timezone.utc)
    with explaining():
        config = load_config()
        reader = ListReader(config, Client.from_config(config))
        directory = AccountDirectory(reader, config.login.identity())
        loaded = LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA), watch=False)
    with closing(reader.client), explaining():
        first = since or reader.config.start or find_first_start(loaded)
        plan = make_plan(reader.config, now, first, until, deep=deep, repair=repair)
        verification = _Verification(target, loaded, reader, directory, plan)
        outcome = verification.run(types)
        write_view(loaded)
        outcome.requests, outcome.seconds = reader.client.requests_sent, time.monotonic() - began
    return outcome


def make_plan(
    config: VbcConfig,
    now: datetime,
    since: datetime | None,
    until: datetime | None,
    *,
    deep: bool = False,
    repair: bool = False,
) -> ComparisonPlan:
    """Say which spans to compare: apart from the others what every run of the source reads again.

    Raises:
        VbcError: there is nothing between the bounds.
    """
    first, last = floor_second(since or config.first_start(now)), floor_second(min(until or now, now))
    window = config.api_filters.narrow(Window(first, last)) if first <= last else None
    if window is None:
        raise VbcError("there is nothing to compare: since is after until, or after now")
    edge = floor_second(now - config.lookback)
    if window.end <= edge:
        return ComparisonPlan(window, None, deep, repair, now)
    if window.start >= edge:
        return ComparisonPlan(None, window, deep, repair, now)
    return ComparisonPlan(Window(window.start, edge), Window(edge, window.end), deep, repair, now)


class _Verification:
    def __init__(
        self,
        target: Target,
        loaded: LoadedTables,
        reader: ListReader,
        directory: AccountDirectory,
        plan: ComparisonPlan,
    ) -> None:
        self._target, self._loaded, self._reader = target, loaded, reader
        self._directory, self._plan = directory, plan
        whole = plan.windows
        self.outcome = VerifyResult(True, whole[0].start, whole[0].end)

    def run(self, types: Sequence[RecordingType]) -> VerifyResult:
        known = TYPES if self._reader.config.has_user_recordings else TYPES[:1]
        there = [kind for kind in known if self._loaded.find(TABLES[kind])]
        if not there:
            raise VbcError("nothing is loaded yet, so nothing can be compared: run vbc sync first")
        wanted = [kind for kind in TYPES if kind in (types or there)]
        if missing := [kind for kind in wanted if kind not in there]:
            raise VbcError(f"there is no table {TABLES[missing[0]]} in the destination: run vbc sync first")
        self.outcome.left_out = [] if types else [TABLES[kind] for kind in known if kind not in there]
        for kind in wanted:
            survey = ListsComparison(
                kind, ENDPOINTS[kind], self._reader, self._loaded, self._target, self._plan
            )
            findings = self._compare_users(survey) if kind == "user" else self._compare_companies(survey)
            self._add(findings)
            self._add_gaps(ENDPOINTS[kind], findings)
        self.outcome.lateness = measure_lateness(self._loaded, self._plan.now)
        self.outcome.lookback_hours = self._reader.config.lookback / timedelta(hours=1)
        if self._loaded.find(LEDGER):
            self.outcome.without_audio = sum(total.without_audio for total in self.outcome.totals)
        return self.outcome

    def _compare_companies(self, survey: ListsComparison) -> ComparisonResult:
        accounts = self._reader.config.accounts
        findings = survey.run([ListOwner(account) for account in accounts])
        told = findings.totals[0] if len(findings.totals) == 1 else None
        if told and accounts == (SELF,) and told.account_id != SELF:
            self._directory.learn(told.account_id)  # which saves a request
        return findings

    def _compare_users(self, survey: ListsComparison) -> ComparisonResult:
        config, state = self._reader.config, dict[str, str]()
        found = [self._directory.find_account(asked, state) for asked in config.accounts]
        accounts = list(dict.fromkeys(found))
        if config.users is not None:
            return survey.run([ListOwner(account, user) for account in accounts for user in config.users])
        listed = [ListOwner(account, user) for account in accounts for user in self._list_users(account)]
        return survey.run(listed, accounts)

    def _list_users(self, account: str) -> Iterator[str]:
        try:
            yield from self._directory.users(account, "verify", self._plan.now)
        except Forbidden as fault:
            if not self._reader.config.skip_forbidden:
                raise
            log.warning("left out, since on_forbidden = skip: %s", fault)

    def _add(self, findings: ComparisonResult) -> None:
        outcome = self.outcome
        outcome.spans += findings.spans
        outcome.totals += findings.totals
        outcome.compared += sum(total.api or 0 for total in findings.totals)
        for span in findings.spans:
            outcome.missing += 0 if span.recent else span.missing
            outcome.waiting += span.missing if span.recent else 0
            outcome.gone += span.gone
            outcome.returned += span.returned
        outcome.loaded += findings.loaded
        outcome.tombstoned += findings.tombstoned
        outcome.unconfirmed += findings.unconfirmed
        outcome.ok = outcome.ok and all(total.agrees for total in findings.totals)

    def _add_gaps(self, endpoint: Endpoint, findings: ComparisonResult) -> None:
        settled = self._plan.settled
        if settled:
            lists = [
                RecordingList(endpoint.name, total.account_id, total.user_id)
                for total in findings.totals
                if not total.unread
            ]
            proven = read_proven_spans(self._loaded, self._reader.config, settled)
            self.outcome.gaps += find_gaps(proven, lists, settled)
