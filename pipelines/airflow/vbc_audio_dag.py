"""Every hour: archive the audio of what is loaded, where [sources.vbc.audio] bucket_url says."""

from __future__ import annotations

from datetime import datetime, timezone

from airflow.sdk import dag, task
from vbc_settings import run_vbc


@dag(
    schedule="30 * * * *",
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args={"retries": 2},
    tags=["vbc"],
)
def vbc_audio() -> None:
    """Archive what is not archived yet; what is, is not fetched again."""

    @task
    def archive() -> None:
        run_vbc("audio")

    archive()


vbc_audio()
