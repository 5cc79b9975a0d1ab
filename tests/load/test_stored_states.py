"""A destination keeps the last states of a pipeline, not all of them."""

from __future__ import annotations

from collections.abc import Callable

import dlt
import pytest
from warehouses import set_up

from vbc_source.load import stored_states
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import run_pipeline


@dlt.source(name="vbc", section="vbc")
def counting(number: int) -> dlt.sources.DltResource:
    @dlt.resource
    def numbers() -> object:
        dlt.current.resource_state()["seen"] = number
        yield {"number": number}

    return numbers


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["duckdb", pytest.param("postgres", marks=pytest.mark.destinations)])
def test_the_last_states_stay_and_the_newest_one_is_restored(
    monkeypatch: pytest.MonkeyPatch, s3_settings: Callable[[], dict[str, str]], kind: str
) -> None:
    monkeypatch.setattr(stored_states, "STATES_KEPT", 2)
    with set_up(kind, monkeypatch, s3_settings) as warehouse:
        with hold_pipeline(warehouse.target) as pipeline:
            for number in range(4):
                run_pipeline(pipeline, counting(number))
            with pipeline.sql_client() as client:
                states = client.make_qualified_table_name("_dlt_pipeline_state")
                loads = client.make_qualified_table_name("_dlt_loads")

                def read() -> list[tuple[str, str]]:
                    rows = client.execute_sql(
                        f"SELECT pipeline_name, _dlt_load_id FROM {states} ORDER BY 2, 1"
                    )
                    return [(name, load_id) for name, load_id in rows or ()]

                (_, first), (_, second) = read()
                # another pipeline's state stays; a load that is not complete does not count among the last
                client.execute_sql(
                    f"INSERT INTO {states} SELECT * FROM {states} WHERE _dlt_load_id = '{first}'"
                )
                client.execute_sql(
                    f"UPDATE {states} SET pipeline_name = 'other' WHERE _dlt_load_id = '{first}'"
                )
                client.execute_sql(f"UPDATE {loads} SET status = 1 WHERE load_id = '{second}'")
            run_pipeline(pipeline, counting(4))
            run_pipeline(pipeline, counting(5))
            with pipeline.sql_client() as client:
                names, load_ids = zip(*read(), strict=True)
        assert names == ("other", "other", "vbc", "vbc")
        assert load_ids[0] == load_ids[1] == first
        assert min(load_ids[2:]) > second
        with hold_pipeline(warehouse.target, fresh=True) as pipeline:
            pipeline.sync_destination()
            assert pipeline.state["sources"]["vbc"]["resources"]["numbers"] == {"seen": 5}
