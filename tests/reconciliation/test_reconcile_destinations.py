"""The same gaps are found, noted and closed in every destination."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from test_reconcile import (  # noqa: F401 - a fixture
    GAPS,
    SETTINGS,
    Stand,
    ago,
    classes,
    expect_judged,
    loaded_stand,
)
from verification_cases import configure
from warehouses import set_up

from vbc_source import archive_audio, read_status, reconcile
from vbc_source.load.pipelines import hold_pipeline
from vbc_source.load.sync import make_source, run_pipeline
from vbc_source.windows import parse_instant

pytestmark = pytest.mark.destinations


@pytest.mark.parametrize("kind", ["postgres", "parquet", "delta"])
def test_gaps_are_found_once_and_closed_in_a_warehouse_and_in_a_lake(
    loaded_stand: Stand,  # noqa: F811
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    s3_settings: Callable[[], dict[str, str]],
    kind: str,
) -> None:
    for name, value in configure(loaded_stand.url, **SETTINGS).items():
        monkeypatch.setenv(name, value)
    with set_up(kind, monkeypatch, s3_settings) as warehouse:
        target = warehouse.target
        with hold_pipeline(target) as held:
            run_pipeline(held, make_source())
            run_pipeline(held, make_source())  # on a lake, rows of the lookback may be there twice
        archive_audio(target, bucket_url=str(own_folder / "audio"), limit=4)  # files are as long as they say
        first = reconcile(target)
        expected = expect_judged(loaded_stand.gateway, first)
        assert classes(first) == {name: expected[name] for name in GAPS}
        assert (first.ok, first.new) == (False, sum(len(expected[name]) for name in GAPS))
        second = reconcile(target)
        assert (second.ok, second.new, second.closed, second.gaps) == (True, 0, 0, ())
        assert read_status(target).call_gaps == {name: len(expected[name]) for name in GAPS}
        # with a wider tolerance the lengths fit: those gaps are closed, and are new once it is narrow again
        wide = reconcile(target, tolerance=10_000)
        assert (wide.new, wide.closed) == (0, len(expected["length_differs"]))
        assert read_status(target).call_gaps["length_differs"] == 0
        narrow = reconcile(target)
        assert classes(narrow) == {"length_differs": expected["length_differs"]}
        span = reconcile(target, since=parse_instant(ago(30)), until=parse_instant(ago(5)), known=True)
        assert {gap.call_id for gap in span.gaps} < {gap.call_id for gap in first.gaps}
