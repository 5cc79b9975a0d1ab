"""`vbc forget`: erase what concerns a telephone number, copy by copy, so that nothing returns.

First VBC's recordings, then objects in the bucket, then rows, then files of dlt; at last what deleted rows
leave in files and tables. A journal says what is to be erased, so that a killed run is continued. What is
blocked at one copy keeps the later ones: they are needed to try again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path

import dlt

from vbc_source.analytics.database import name_models
from vbc_source.api.client import Client
from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.session import ArchiveSession, open_archive
from vbc_source.config import AudioConfig, load_audio_config
from vbc_source.dlt_internals import count_pending_packages
from vbc_source.erasure.conditions import Erased
from vbc_source.erasure.database import DatabaseRows
from vbc_source.erasure.gateway import GatewayCopies
from vbc_source.erasure.journal import ErasedRecording, ErasureJournal, JournalFile, find_key
from vbc_source.erasure.lake import LakeRows
from vbc_source.erasure.ledger import PLACES, load_erased, load_erasure
from vbc_source.erasure.local_files import LocalCopies
from vbc_source.erasure.objects import ObjectCopies
from vbc_source.erasure.plan import ErasurePlanner, Restraints
from vbc_source.erasure.result import Blocked, Copies, ErasureResult, write_certificate
from vbc_source.erasure.subject import Subject, read_subject
from vbc_source.errors import UsageError, VbcError
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explain, explaining
from vbc_source.load.locks import hold_dataset_lock, hold_pipeline_lock
from vbc_source.load.parts import remove_killed_parts
from vbc_source.load.pipelines import hold_pipeline, keep_connected
from vbc_source.retention.legal_hold import LegalHold
from vbc_source.retention.plan import read_policy_files
from vbc_source.schema.erased import DATABASES
from vbc_source.schema.names import AUDIO_SCHEMA, VERIFY_SCHEMA
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)


def forget(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    number: str | None = None,
    caller_hash: str | None = None,
    recordings: Sequence[str] = (),
    bucket_url: str | None = None,
    hold: LegalHold | None = None,
    policy: Path | None = None,
    apply: bool = False,
    folder: Path | None = None,
    now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> ErasureResult:
    """Erase everything about a telephone number that VBC, the bucket, the tables and this machine have.

    Args:
        target: Where the recordings are loaded.
        number: The number, in any spelling; or else:
        caller_hash: Its hash, as tables have it with `pii = "hash"`; or else:
        recordings: Ids of recordings, where tables have neither.
        bucket_url: Where the files are; from `[sources.vbc.audio]` if None.
        hold: Recordings and calls that must not be erased.
        policy: The retention policy: what a rule of it keeps, or its hold list holds, is not erased.
        apply: Whether to erase. Without it everything is listed, and nothing erased.
        folder: Where the certificate is written; the current folder if None.
        now: Returns the current time.

    Returns:
        The copies that were found and erased, by place.

    Raises:
        UsageError: It is not clear whom to forget. No message repeats the number.
        SettingsError: A setting is missing or malformed; the message names it.
        WrongClock: This machine's clock differs from the gateway's.
        VbcError: The run stopped; with the same arguments the next one continues it.
    """
    with explaining():
        config = load_audio_config(bucket_url=bucket_url)
    subject = read_subject(number, caller_hash, recordings, config.pii_policy)
    restraints = Restraints(hold or LegalHold(), read_policy_files(policy) if policy else None)
    if subject.digits and config.pii_policy.mode == "drop":
        log.warning(
            "pii = drop: rows loaded with it name no number; VBC's own filter finds what it still has"
        )
    try:
        with _open(target, config, bucket_url) as site:
            erasure = _Erasure(site, subject, restraints, now)
            return erasure.apply(folder or Path.cwd()) if apply else erasure.list_copies()
    except Exception as error:  # a database's message may repeat the statement
        reason = explain(error)
        if subject.is_in(str(reason)):
            raise VbcError(subject.redact(str(reason))) from None
        raise


@dataclass(frozen=True, slots=True)
class _Site:
    """What an erasure works on: the pipelines are held, so that no other command loads meanwhile."""

    target: Target
    config: AudioConfig
    client: Client
    loaded: LoadedTables
    source: dlt.Pipeline
    ledgers: dlt.Pipeline
    archive: ArchiveSession | None

    @property
    def place(self) -> str:
        """Where the rows are; names the journal."""
        return f"{self.target.dataset} {self.source.destination_client().config}"


@contextmanager
def _open(target: Target, config: AudioConfig, bucket_url: str | None) -> Iterator[_Site]:
    with ExitStack() as stack:
        archive = stack.enter_context(open_archive(target, bucket_url)) if config.bucket_url else None
        if archive:
            client, ledgers = archive.client, archive.pipeline
        else:
            client = stack.enter_context(closing(Client.from_config(config)))
            ledgers = stack.enter_context(hold_pipeline(target.ledgers("audio")))
        stack.enter_context(hold_pipeline_lock(target.ledgers("verify").pipeline))
        source = stack.enter_context(hold_pipeline(target))
        loaded = LoadedTables(target, (AUDIO_SCHEMA, VERIFY_SCHEMA), locked=True, watch=False)
        if archive is None and loaded.find(LEDGER):
            ((stored,),) = loaded.query(f"SELECT count(*) FROM {LEDGER} WHERE status = 'stored'")
            if stored:
                raise UsageError(
                    "files are archived: give --bucket-url, or set bucket_url, to erase them too"
                )
        yield _Site(target, config, client, loaded, source, ledgers, archive)


class _Erasure:
    def __init__(
        self, site: _Site, subject: Subject, restraints: Restraints, now: Callable[[], datetime]
    ) -> None:
        self._site, self._subject, self._now = site, subject, now
        self._hash = subject.identify(find_key(site.config.pii_key))
        self._file = JournalFile(site.place, self._hash)
        self._gateway = GatewayCopies(site.client, site.config, subject, now)
        self._files = LocalCopies(site.source.dataset_name, subject)
        self._objects = None
        if site.archive:
            self._objects = ObjectCopies(site.archive.archive.bucket)
        self._planner = ErasurePlanner(
            site.loaded, site.config, subject, self._gateway, self._objects, restraints
        )
        self._blocked, self._notes = self._planner.blocked, self._planner.notes
        self._places: dict[str, int] = {}

    def list_copies(self) -> ErasureResult:
        """List every copy, and what forbids to erase it."""
        with keep_connected(self._site.source):
            return self._list_copies()

    def _list_copies(self) -> ErasureResult:
        pending = count_pending_packages(self._site.target.pipeline)
        if pending:
            self._notes.append(f"{pending} load package(s) are pending: --apply loads them first")
        journal = self._plan()
        free = self._choose(journal)
        rows = self._find_rows(_divide(journal, free))
        copies = Copies(
            vbc=len(free),
            objects=sum(len(row.keys) for row in free),
            rows=rows,
            local_files=len(self._files.find()),
        )
        return self._make_result(journal, copies, applied=False)

    def apply(self, folder: Path) -> ErasureResult:
        """Erase every copy."""
        with keep_connected(self._site.source):
            self._finish_pending()
            journal = self._plan()
            free = self._choose(journal)
            # blocked as a whole: which of its recordings are a caller's is not certain
            if any(item.recording_id is None for item in self._blocked):
                return self._make_result(journal, Copies(), applied=False)
            # `planned` has what is blocked as well: its rows stay, although they hold the number
            planned, journal = journal, replace(journal, recordings=tuple(free))
            self._file.write(journal)
            self._load_status(journal, "running")
            journal, gone = self._erase_at_vbc(journal)
            journal, gone = self._erase_objects(journal, gone)
            # what VBC or the bucket has kept stays in the tables: another try needs its rows
            erased = _divide(planned, gone)
            journal = self._erase_rows(journal, erased)
        # the connection is closed: DuckDB's file is copied and replaced below
        removed, kept = self._files.erase()
        journal = journal.add("local_files", removed)
        self._file.write(journal)
        self._block(None, kept)
        self._block(None, self._rewrite())
        self._look_again(erased)
        # with what a run before had erased until it was killed
        counts = {place: journal.counts.get(place, 0) for place in PLACES}
        result = self._make_result(journal, Copies(**counts), applied=True)
        self._load_status(journal, "done" if result.ok else "left")
        result = write_certificate(
            folder, result, self._hash, self._site.target.dataset, journal.began_at, self._now()
        )
        # after the certificate: a kill between the two repeats the run, and loses none
        if result.ok:
            self._file.remove()
        return result

    def _finish_pending(self) -> None:
        """Load what a killed run has left, so that its rows are found, and cannot come later."""
        remove_killed_parts(self._site.target)
        for pipeline in (self._site.source, self._site.ledgers):
            pipeline.sync_destination()
            if pipeline.has_pending_data:
                with explaining(), hold_dataset_lock(pipeline):
                    pipeline.run()
                self._site.loaded.refresh()
        verify = self._site.target.ledgers("verify").pipeline
        # only its lock is held here: the pipeline that could finish the load is not open
        if count_pending_packages(verify):
            raise VbcError(f"a load of pipeline {verify} is not complete: run vbc verify --repair first")

    def _plan(self) -> ErasureJournal:
        return self._planner.plan(self._file.read() or ErasureJournal(), self._hash)

    def _choose(self, journal: ErasureJournal) -> list[ErasedRecording]:
        """Return the recordings that are erased."""
        free = self._planner.choose(journal.recordings, self._now())
        self._places |= {
            "recordings at VBC": len(free),
            "objects in the bucket": sum(len(row.keys) for row in free),
        }
        return free

    def _find_rows(self, erased: Erased) -> int:
        if self._site.loaded.kind == FILESYSTEM:
            found = dict(self._lake().find(erased))
            self._places |= {f"rows of {table}": rows for table, rows in found.items()}
            self._block_named(self._lake().find_named())
            return sum(found.values())
        database = self._database()
        total = 0
        for table in database.find(erased):
            if table.is_ours:
                self._places[f"rows of {table.title}"] = table.rows
                total += table.rows
            else:
                self._blocked.append(
                    Blocked(
                        None, f"{table.title} holds it in {table.rows:,} rows, and is not a table of ours"
                    )
                )
        self._block_named(database.find_named())
        return total

    def _block_named(self, tables: Sequence[str]) -> None:
        self._block(None, [f"{name} has a column that is named like the number: drop it" for name in tables])

    def _database(self) -> DatabaseRows:
        kind = self._site.loaded.kind
        if kind not in DATABASES:
            raise UsageError(f"vbc forget erases in duckdb, postgres and filesystem, not in {kind}")
        models = name_models(self._site.source.sql_client().dataset_name)
        return DatabaseRows(self._site.source, self._subject, self._site.loaded.list_tables(), models)

    def _lake(self) -> LakeRows:
        return LakeRows(self._site.loaded.destination, self._site.target.dataset, self._subject)

    def _erase_at_vbc(self, journal: ErasureJournal) -> tuple[ErasureJournal, list[ErasedRecording]]:
        done = []
        for row, reason in self._gateway.delete(journal.recordings):
            if reason:
                self._blocked.append(Blocked(row.recording_id, reason))
            else:
                done.append(row)
        # a continued run tries all of them again: those that the first one has deleted are in `done` too
        journal = journal.add("vbc", len(done) - journal.counts.get("vbc", 0))
        self._file.write(journal)
        log.info("erasure: %d recordings are gone at VBC", len(done))
        return journal, done

    def _erase_objects(
        self, journal: ErasureJournal, rows: Sequence[ErasedRecording]
    ) -> tuple[ErasureJournal, list[ErasedRecording]]:
        if self._objects is None:
            return journal, list(rows)
        done = []
        for row in rows:
            erased, reason = self._objects.erase(row)
            journal = journal.add("objects", erased)
            if reason:
                self._blocked.append(Blocked(row.recording_id, reason))
            else:
                done.append(row)
        self._file.write(journal)
        return journal, done

    def _erase_rows(self, journal: ErasureJournal, erased: Erased) -> ErasureJournal:
        load_erased(self._site.ledgers, journal, erased.recordings, erased.legs, self._now())
        if self._site.loaded.kind == FILESYSTEM:
            count = self._lake().erase(erased)
        else:
            with hold_dataset_lock(self._site.source):
                count = self._database().erase(erased)
        journal = journal.add("rows", count)
        self._file.write(journal)
        return journal

    def _rewrite(self) -> list[str]:
        """Rewrite what erased rows were in; return what could not be, in words."""
        if self._site.loaded.kind == FILESYSTEM:
            self._lake().compact()
            return []
        return self._database().compact()

    def _look_again(self, erased: Erased) -> None:
        """Block what is still there, although it should be erased."""
        self._site.loaded.refresh()
        self._places = {}
        left = self._find_rows(erased)
        if left:
            self._block(None, [f"{left:,} rows are still there: {', '.join(self._places)}"])

    def _block(self, recording_id: int | None, reasons: Sequence[str]) -> None:
        self._blocked += [Blocked(recording_id, reason) for reason in reasons]

    def _load_status(self, journal: ErasureJournal, status: str) -> None:
        load_erasure(
            self._site.ledgers,
            journal,
            self._hash,
            self._subject.kind,
            status,
            len(self._blocked),
            self._now(),
        )

    def _make_result(self, journal: ErasureJournal, copies: Copies, *, applied: bool) -> ErasureResult:
        if self._site.loaded.kind in DATABASES and applied:
            self._notes.append("run vbc models run: its sums over calls still count what is erased")
        return ErasureResult(
            applied=applied,
            recordings=len(journal.recordings),
            copies=copies,
            # what is planned and then looked at again may be blocked twice
            blocked=tuple(dict.fromkeys(self._blocked)),
            erasure_id=journal.erasure_id if applied else "",
            places={place: count for place, count in self._places.items() if count},
            notes=tuple(self._notes),
            ok=not self._blocked,
        )


def _divide(journal: ErasureJournal, gone: Sequence[ErasedRecording]) -> Erased:
    """Return what of a plan is erased, and what stays, with the legs of its calls."""
    keys = {row.key for row in gone}
    kept = [row for row in journal.recordings if row.key not in keys]
    calls = {(row.account_id, row.call_id) for row in kept}
    legs = [leg for leg in journal.legs if (leg.account_id, leg.call_id) not in calls]
    return Erased(gone, legs, kept)
