"""Every hour: archive the audio of what is loaded, in the bucket of [sources.vbc.audio] bucket_url."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import dag, task
from vbc_settings import connect


@dag(
    schedule="30 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    tags=["vbc"],
)
def vbc_audio() -> None:
    """Archive what is not archived yet; what is archived is not fetched again."""

    @task
    def archive() -> None:
        target = connect()
        from vbc_source import VbcError, archive_audio

        result = archive_audio(target)
        print(*result.summary(), sep="\n")
        if not result.ok:
            raise VbcError(
                f"{result.failed} file(s) failed and {result.forbidden} are forbidden, see the log"
            )

    archive()


vbc_audio()
