"""Archive a large backlog by exports: start them, wait for them, and archive their zips."""

from __future__ import annotations

import logging
from collections import Counter

from vbc_source.api.export_jobs import TIMEOUT, ExportApi, ExportTooSlow, make_filters
from vbc_source.audio.backlog import Backlog
from vbc_source.audio.exports.catalog import Catalog
from vbc_source.audio.exports.planner import EXPORT_REQUESTS, ExportSpan, Via, plan_spans, saves_requests
from vbc_source.audio.exports.run import STOPPING_ERRORS, ExportRun
from vbc_source.audio.session import ArchiveSession
from vbc_source.config import SELF
from vbc_source.errors import VbcError
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

log = logging.getLogger(__name__)


def archive_by_exports(session: ArchiveSession, backlog: Backlog, via: Via) -> Counter[str]:
    """Archive the backlog by exports: with `export` all of it, with `auto` where that saves requests.

    Returns the counts of `ExportResult`. With `auto`, only what would stop single downloads is raised.
    """
    # files of recordings that are not loaded yet are left for a later run
    run = ExportRun(session, keep_unmatched=False)
    # half of the limit: the zip also contains what is archived already
    for span in plan_spans(backlog.read(), session.config.max_zip_bytes // 2):
        if via == "auto" and not saves_requests(span, *_measure(session.loaded, span)):
            log.info("%s: one by one, about %d requests", span.describe(), span.files)
            continue
        log.info(
            "%s: by export, about %d requests instead of %d", span.describe(), EXPORT_REQUESTS, span.files
        )
        try:
            _archive_span(session, run, span)
        except STOPPING_ERRORS:
            raise
        except VbcError as error:
            if via == "export":
                raise
            log.warning("%s: %s; these files are downloaded one by one", span.describe(), error)
            if isinstance(error, ExportTooSlow):
                # each of the others would be waited for as long
                log.warning("no more exports are started in this run")
                break
    return run.counts


def _archive_span(session: ArchiveSession, run: ExportRun, span: ExportSpan) -> None:
    config = session.config
    # a company's jobs are listed under the user who started them
    api = ExportApi(
        session.client, config.recording_api, span.account_id, span.user_id or SELF, config.login_name
    )
    job_ids = api.create(make_filters(span.start, span.end), company=span.recording_type == "company")
    catalog = Catalog(session.loaded, config.pii_policy, session.archive.bucket, span.account_id)
    for job in api.wait(job_ids, TIMEOUT):
        run.archive(api, job, catalog)


def _measure(loaded: LoadedTables, span: ExportSpan) -> tuple[int, int]:
    """Return how many recordings, and how many bytes, an export of a span would contain."""
    selection = RecordingSelection((span.recording_type,), span.start, span.end)

    def write(loaded: LoadedTables) -> str:
        return f"""
            SELECT count(*), coalesce(sum(size_bytes), 0) FROM ({write_recordings(loaded, selection)}) AS r
            WHERE account_id = :account AND user_id = :user"""

    values = {"account": span.account_id, "user": span.user_id}
    ((files, size),) = loaded.query(write, **selection.bounds, **values)
    return int(files), int(size)
