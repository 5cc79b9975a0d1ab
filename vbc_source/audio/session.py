"""An open archive: the resources that archiving, exports and retention share."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import dlt

from vbc_source.api.client import Client
from vbc_source.audio.archive import Archive
from vbc_source.audio.bucket import Bucket
from vbc_source.audio.custody_heads import store_if_new
from vbc_source.audio.journal import Journal
from vbc_source.audio.ledger import AudioLedger
from vbc_source.config import AudioConfig, load_audio_config
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.ledgers import find_last_event
from vbc_source.load.locks import open_turns
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.private_files import make_private_folder
from vbc_source.warehouse.queries import LoadedTables


@dataclass(frozen=True, slots=True)
class ArchiveSession:
    """An archive that this process holds; `pipeline` loads its ledgers, `folder` is for what waits."""

    config: AudioConfig
    client: Client
    loaded: LoadedTables
    pipeline: dlt.Pipeline
    archive: Archive
    ledger: AudioLedger
    folder: Path


@contextmanager
def open_archive(target: Target, bucket_url: str | None) -> Iterator[ArchiveSession]:
    """Open the archive, and finish what a killed run left behind.

    The ledgers have a pipeline of their own where the recordings are loaded, `<pipeline>_audio`.
    """
    with explaining():
        config = load_audio_config(bucket_url=bucket_url)
        bucket, client = Bucket(config.bucket, config.storage), Client.from_config(config)
    with (
        hold_pipeline(target.ledgers("audio")) as pipeline,
        closing(client),
        open_turns(pipeline.destination, pipeline.sql_client) as turns,
    ):
        # before the first request: pods that log in at once may revoke each other's tokens
        client.take_turns(turns)
        loaded = LoadedTables(target)
        folder = _find_folder(pipeline)
        with closing(Journal(folder / "journal.jsonl")) as journal:
            archive = Archive(bucket, folder / "spool", journal)
            bucket.remove_stale_drafts()
            # in this order: manifests lose the lines of rows in the journal, which the load empties
            archive.recover()
            archive.update_manifests()
            ledger = AudioLedger(pipeline, journal, loaded.lock, bucket.sync)
            # before the load: what a killed run had left is news for the head of the chain as well
            before = find_last_event(pipeline)
            ledger.load()
            yield ArchiveSession(config, client, loaded, pipeline, archive, ledger, folder)
            store_if_new(bucket, pipeline, before)


def _find_folder(pipeline: dlt.Pipeline) -> Path:
    """Return the folder of the journal: one for each destination, so that no row is loaded elsewhere."""
    place = f"{pipeline.pipeline_name} {pipeline.dataset_name} {pipeline.destination_client().config}"
    name = hashlib.sha256(place.encode()).hexdigest()[:16]
    # private as a whole: the journal, the spool and the receipts are in it
    private = make_private_folder(Path(dlt.current.run_context().data_dir) / "vbc_audio")
    return make_private_folder(private / name)
