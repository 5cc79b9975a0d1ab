"""Archives what export jobs have packed."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import closing

from vbc_source.api.client import Client
from vbc_source.api.export_jobs import ExportApi
from vbc_source.audio.archive_audio import open_archive
from vbc_source.audio.bucket import Bucket, BucketFailed
from vbc_source.audio.exports.catalog import Catalog
from vbc_source.audio.exports.run import ExportResult, ExportRun
from vbc_source.config import SELF, load_audio_config
from vbc_source.errors import LoginRefused, NotSubscribed, VbcError
from vbc_source.load.destinations import Target
from vbc_source.load.failures import explaining
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.warehouse.queries import LoadedTables

log = logging.getLogger(__name__)


def download_exports(
    job_ids: Sequence[str],
    target: Target = Target(),  # noqa: B008 - a frozen value
    *,
    bucket_url: str | None = None,
    user: str | None = None,
    account: str | None = None,
) -> ExportResult:
    """Archive the files of exports, with the same checks and the same ledger as single files.

    Args:
        job_ids: of complete export jobs.
        target: Where the recordings are loaded.
        bucket_url: where files go; from `[sources.vbc.audio]` unless given.
        user: whose jobs they are; the API user's unless given.
        account: of the jobs, where the settings name several.

    Raises:
        VbcError: what stopped it, in words for the person who can act. What concerns one export alone
            is in the outcome's `errors`, and the others are archived.
    """
    began = time.monotonic()
    with explaining():
        config = load_audio_config(bucket_url=bucket_url)
        bucket, client = Bucket(config.bucket), Client.from_config(config)
        account = config.choose_account(account)
    api = ExportApi(client, config.recording_api, account, user or SELF, config.login_name)
    with hold_pipeline(target.ledgers("audio")) as held, closing(client):
        loaded = LoadedTables(target)
        with open_archive(held, bucket, loaded) as (archive, ledger):
            run = ExportRun(archive, ledger, config.max_concurrency, config.max_zip_bytes)
            for job_id in dict.fromkeys(job_ids):
                try:
                    if not run.is_archived(job_id):
                        job = api.show(job_id)
                        owner = job.account or (None if account == SELF else account)
                        run.download(api, job, Catalog(loaded, config.pii_policy, bucket, owner))
                except (BucketFailed, LoginRefused, NotSubscribed):
                    raise
                except VbcError as error:
                    run.outcome.errors.append(str(error))
            ledger.load()
    outcome = run.outcome
    outcome.requests, outcome.seconds = client.requests_sent, time.monotonic() - began
    outcome.ok = not (outcome.errors or outcome.failed or outcome.lacking)
    return outcome
