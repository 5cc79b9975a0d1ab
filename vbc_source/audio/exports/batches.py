"""Archives a large backlog by exports: starts them, waits for them, and takes what they bring."""

from __future__ import annotations

import logging

from vbc_source.api.client import Client
from vbc_source.api.export_jobs import TIMEOUT, ExportApi, make_filters
from vbc_source.audio.archive import Archive
from vbc_source.audio.backlog import Backlog
from vbc_source.audio.bucket import BucketFailed
from vbc_source.audio.exports.catalog import Catalog
from vbc_source.audio.exports.planner import EXPORT_REQUESTS, ExportSpan, Via, plan_spans, saves
from vbc_source.audio.exports.run import ExportResult, ExportRun
from vbc_source.audio.ledger_writer import AudioLedger
from vbc_source.config import SELF, VbcConfig
from vbc_source.errors import LoginRefused, NotSubscribed, VbcError
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

log = logging.getLogger(__name__)


class ExportBatches:
    """Brings what is wanted by exports, where that is asked for or saves requests.

    Args:
        config: The settings.
        client: Sends the requests.
        archive: where files go.
        ledger: where it is written down.
        loaded: what the destination holds.
        most_bytes: how large a zip may be.
        timeout: how long to wait for an export, seconds.
    """

    def __init__(
        self,
        config: VbcConfig,
        client: Client,
        archive: Archive,
        ledger: AudioLedger,
        loaded: LoadedTables,
        most_bytes: int,
        timeout: float = TIMEOUT,
    ) -> None:
        self._config, self._client = config, client
        self._archive, self._loaded = archive, loaded
        self._most_bytes, self._timeout = most_bytes, timeout
        # what is not loaded yet is loaded and archived another day
        self._run = ExportRun(archive, ledger, config.max_concurrency, most_bytes, keep_unmatched=False)

    def run(self, backlog: Backlog, via: Via) -> ExportResult:
        """Archive by exports: with `export` all of the backlog, with `auto` what that saves requests for.

        Raises:
            VbcError: an export came to nothing. With `auto` only what stops files one by one as well.
        """
        for span in plan_spans(backlog.read(), self._most_bytes // 2):
            if via == "auto" and not saves(span, *self._measure(span)):
                log.info("%s: one by one, about %d requests", span.describe(), span.files)
                continue
            log.info(
                "%s: by export, about %d requests instead of %d", span.describe(), EXPORT_REQUESTS, span.files
            )
            try:
                self._bring(span)
            except (BucketFailed, LoginRefused, NotSubscribed):
                raise
            except VbcError as error:
                if via == "export":
                    raise
                log.warning("%s: %s; they are fetched one by one", span.describe(), error)
        return self._run.outcome

    def _bring(self, span: ExportSpan) -> None:
        config = self._config
        api = ExportApi(
            self._client, config.recording_api, span.account_id, span.user_id or SELF, config.login_name
        )
        ids = api.create(make_filters(span.start, span.end), company=span.recording_type == "company")
        catalog = Catalog(self._loaded, config.pii_policy, self._archive.bucket, span.account_id)
        for job in api.wait(ids, self._timeout):
            self._run.download(api, job, catalog)

    def _measure(self, span: ExportSpan) -> tuple[int, int]:
        """How many recordings, and how many bytes, an export of a span would bring."""
        selection = RecordingSelection((span.recording_type,), span.start, span.end)

        def write(loaded: LoadedTables) -> str:
            there = write_recordings(loaded, selection)
            return f"""
                SELECT count(*), coalesce(sum(size_bytes), 0) FROM ({there}) AS r
                WHERE account_id = :account AND user_id = :owner"""

        values = {"account": span.account_id, "owner": span.user_id}
        ((files, size),) = self._loaded.query(write, **selection.bounds, **values)
        return int(files), int(size)
