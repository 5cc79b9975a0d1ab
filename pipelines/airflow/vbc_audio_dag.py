"""After each load that brought rows, and every hour: archive the audio of what is loaded."""

from __future__ import annotations

import os
import sys
from datetime import datetime, timezone

from airflow.sdk import AssetOrTimeSchedule, CronTriggerTimetable, dag, task

sys.path.append(os.path.dirname(__file__))  # Airflow adds the top of the DAG folder only
from vbc_settings import POOL, RECORDINGS, connect, make_defaults
from vbc_tenants import for_each_tenant


@dag(
    # by the hour too: a file that failed is tried again where no call is recorded
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("30 * * * *", timezone="UTC"), assets=[RECORDINGS]
    ),
    start_date=datetime(2025, 1, 1, tzinfo=timezone.utc),
    catchup=False,
    max_active_runs=1,
    default_args=make_defaults(),
    tags=["vbc"],
)
def vbc_audio() -> None:
    """Archive what is not archived yet; what is archived is not fetched again."""

    @task(pool=POOL)
    def archive(tenant: str | None) -> None:
        with connect(tenant) as target:
            from vbc_source import VbcError, archive_audio

            result = archive_audio(target)
            print(*result.summary(), sep="\n")
            if not result.ok:
                raise VbcError(
                    f"{result.failed} file(s) failed and {result.forbidden} are forbidden, see the log"
                )

    for_each_tenant(archive)


vbc_audio()
