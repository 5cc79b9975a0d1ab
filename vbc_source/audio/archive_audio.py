"""Archives the audio of recordings that are loaded and not archived yet."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import dlt

from vbc_source.api.client import Client
from vbc_source.audio.archive import Archive
from vbc_source.audio.backlog import Backlog
from vbc_source.audio.bucket import Bucket
from vbc_source.audio.exports.batches import ExportBatches
from vbc_source.audio.exports.planner import Via
from vbc_source.audio.exports.run import ExportResult
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger_writer import AudioLedger
from vbc_source.audio.run import AudioResult, AudioRun
from vbc_source.config import load_audio_config
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import RecordingSelection


def archive_audio(
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket_url: str | None = None,
    selection: RecordingSelection | None = None,
    limit: int | None = None,
    via: Via = "files",
) -> AudioResult:
    """Archive what is loaded and not archived yet; each file is stored whole and proven, or not at all.

    Args:
        target: Where the recordings are loaded. The ledger is loaded by a pipeline of its own,
            `<pipeline>_audio`.
        bucket_url: where files go; from `[sources.vbc.audio]` unless given.
        selection: which recordings; all unless given.
        limit: how many files at most; with it, files come one by one.
        via: `files` fetches one by one, `export` has VBC pack them into zips, `auto` does whichever takes
            fewer requests.

    Raises:
        VbcError: what stopped it, in words for the person who can act.
    """
    with explaining():
        config = load_audio_config(bucket_url=bucket_url)
        bucket, client = Bucket(config.bucket), Client.from_config(config)
    began = datetime.now(timezone.utc)
    with hold_pipeline(target.ledgers("audio")) as held, closing(client):
        loaded = LoadedTables(target)
        with open_archive(held, bucket, loaded) as (archive, ledger):
            backlog = Backlog(loaded, selection or RecordingSelection(), config.max_attempts, began)
            batches = ExportBatches(config, client, archive, ledger, loaded, config.max_zip_bytes)
            brought = ExportResult() if via == "files" or limit else batches.run(backlog, via)
            run = AudioRun(config, client, archive, ledger, backlog, 0 if via == "export" else limit)
            return _add(run.run(), brought, via)


def _add(outcome: AudioResult, brought: ExportResult, via: Via) -> AudioResult:
    """Add to what came one by one what came by exports."""
    return replace(
        outcome,
        stored=outcome.stored + brought.stored,
        bytes=outcome.bytes + brought.bytes,
        failed=outcome.failed + brought.failed,
        exported=brought.stored,
        exports=brought.jobs,
        # what VBC did not pack is left, unless it came one by one
        ok=outcome.ok and not brought.failed and not (via == "export" and brought.lacking),
    )


@contextmanager
def open_archive(
    held: dlt.Pipeline, bucket: Bucket, loaded: LoadedTables
) -> Iterator[tuple[Archive, AudioLedger]]:
    """Open the archive and its ledger, after finishing what a killed run has left."""
    place = f"{held.pipeline_name} {held.dataset_name} {held.destination_client().config}"
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    folder = Path(dlt.current.run_context().data_dir) / "vbc_audio" / name
    with closing(Journal(folder / "journal.jsonl")) as journal:
        archive = Archive(bucket, folder / "spool", journal)
        bucket.sweep()
        archive.recover()
        ledger = AudioLedger(held, journal, loaded.lock)
        ledger.load()
        yield archive, ledger
