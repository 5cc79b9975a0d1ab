"""The states of a pipeline that its destination keeps: dlt adds a row whenever state has changed.

The newest one of a complete load is what counts. Of an account with thousands of users, a row has many
kilobytes, and a run every ten minutes adds one. In files dlt keeps 100 of them itself.
"""

from __future__ import annotations

from contextlib import suppress

import dlt
from dlt.destinations.exceptions import DatabaseUndefinedRelation

from vbc_source.load.destinations import destination_kind

STATES_KEPT = 100
_DATABASES = ("duckdb", "postgres")


def remove_old_states(pipeline: dlt.Pipeline) -> None:
    """Remove the pipeline's states that are older than the last `STATES_KEPT` of complete loads."""
    if (
        destination_kind(pipeline.destination) not in _DATABASES
        or not pipeline.config.restore_from_destination
    ):
        return
    schema = pipeline.default_schema
    # nothing was ever loaded there, or the table was dropped
    with suppress(DatabaseUndefinedRelation), pipeline.sql_client() as client:
        states, loads = map(
            client.make_qualified_table_name, (schema.state_table_name, schema.loads_table_name)
        )
        # by load id: dlt takes the state with the highest one for the newest. Only complete loads are
        # counted, so that one to fall back on stays
        client.execute_sql(
            f"""DELETE FROM {states} WHERE pipeline_name = %s AND _dlt_load_id < (
                SELECT min(kept._dlt_load_id) FROM (
                    SELECT s._dlt_load_id FROM {states} AS s JOIN {loads} AS l ON l.load_id = s._dlt_load_id
                    WHERE s.pipeline_name = %s AND l.status = 0
                    ORDER BY s._dlt_load_id DESC LIMIT {STATES_KEPT}
                ) AS kept)""",
            pipeline.pipeline_name,
            pipeline.pipeline_name,
        )
