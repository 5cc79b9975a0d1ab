"""Archive the files of export jobs that are complete."""

from __future__ import annotations

import time
from collections.abc import Sequence

from vbc_source.api.export_jobs import ExportApi, name_job
from vbc_source.audio.exports.catalog import Catalog
from vbc_source.audio.exports.run import STOPPING_ERRORS, ExportResult, ExportRun
from vbc_source.audio.session import open_archive
from vbc_source.audio.sidecars.missing_sidecars import write_missing_sidecars
from vbc_source.config import SELF
from vbc_source.errors import VbcError
from vbc_source.load.destinations import Target


def download_exports(
    job_ids: Sequence[str],
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket_url: str | None = None,
    user: str | None = None,
    account: str | None = None,
) -> ExportResult:
    """Archive the files of exports, with the same checks and the same ledger as single downloads.

    Args:
        job_ids: Ids of complete export jobs.
        target: Where the recordings are loaded.
        bucket_url: Where files are stored; from `[sources.vbc.audio]` if None.
        user: Owner of the jobs; the API user if None.
        account: Account of the jobs, where the settings name several.

    Returns:
        The counts. An error that concerns one export is in `errors`, and the other exports are archived.

    Raises:
        SettingsError: A setting is missing or malformed; the message names it.
        VbcError: The run stopped. Files stored until then are in the ledger.
    """
    started = time.monotonic()
    errors: list[str] = []
    with open_archive(target, bucket_url) as session:
        config = session.config
        account = config.choose_account(account)
        api = ExportApi(session.client, config.recording_api, account, user or SELF, config.login_name)
        run = ExportRun(session)
        for job_id in dict.fromkeys(job_ids):
            try:
                # before the job is looked up: an export that is archived costs no request
                if not run.is_archived(job_id):
                    job = api.show(job_id)
                    # tables have the account's number, never `self`
                    owner = job.account if account == SELF else account
                    catalog = Catalog(session.loaded, config.pii_policy, session.archive.bucket, owner)
                    run.archive(api, job, catalog)
            except STOPPING_ERRORS:
                raise
            except VbcError as error:
                # the faults of a gateway name no job
                title, text = name_job(job_id), str(error)
                errors.append(text if title in text else f"{title}: {text}")
        # before the sidecars, which are written for what the table has
        session.ledger.load()
        written = write_missing_sidecars(session)
        return ExportResult(
            **run.counts,
            sidecars=written.sidecars,
            refused=written.refused,
            requests=session.client.requests_sent,
            seconds=time.monotonic() - started,
            errors=tuple(errors),
            ok=not (errors or run.counts["failed"] or run.counts["lacking"] or written.refused),
        )
