"""Which part of an archive a run checks."""

from __future__ import annotations

import pytest

from vbc_source.errors import UsageError
from vbc_source.fixity.subsets import Limit, Subset, parse_subset


@pytest.mark.parametrize(
    ("text", "files", "limit"),
    [
        (None, 61, Limit()),
        ("1/30", 61, Limit(files=3)),
        ("5%", 61, Limit(files=4)),
        ("0.5 %", 1000, Limit(files=5)),
        ("100%", 7, Limit(files=7)),
        ("1/30", 0, Limit(files=0)),
        ("10GB", 61, Limit(size_bytes=10_000_000_000)),
        ("1.5 mb", 61, Limit(size_bytes=1_500_000)),
    ],
)
def test_a_subset_is_a_share_or_a_size(text: str | None, files: int, limit: Limit) -> None:
    assert parse_subset(text).limit(files) == limit


@pytest.mark.parametrize(
    "text", ["", "0", "1/0", "0/30", "2/1", "0%", "101%", "0GB", "30", "-1/3", "1/30/2", "GB"]
)
def test_anything_else_is_refused_with_what_is_possible(text: str) -> None:
    with pytest.raises(UsageError, match="1/30 or 5%"):
        parse_subset(text)


def test_items_are_taken_up_to_the_limit() -> None:
    def take(limit: Limit, *sizes: int) -> list[int]:
        return list(limit.take(sizes, lambda size: size))

    assert take(Limit(), 5, 6) == [5, 6]
    assert take(Limit(files=1), 5, 6) == [5]
    assert take(Limit(size_bytes=11), 5, 6, 1) == [5, 6]
    assert take(Limit(size_bytes=10), 5, 6, 1) == [5]
    assert take(Limit(size_bytes=3), 5, 6) == [5]  # else it would never be checked
    assert take(Limit(files=2).less(2, 0), 5) == []
    assert take(Limit(size_bytes=9).less(1, 9), 5) == []
    assert Subset().limit(3).less(3, 3) == Limit()
