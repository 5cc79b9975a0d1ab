"""The CSV export, as a spreadsheet reads it, whatever it takes for a separator."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbc_source.dashboard.csv_export import format_cell, read_chunks, write_csv

STARTS = "=+-@\uff1d\uff0b\uff0d\uff20"


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        " =1+1",
        "\u00a0=1+1",
        "\n=1+1",
        "\r\n=1",
        "\uff1d1+1",
        "\t-2",
        "@SUM(1)",
        "-2+3",
        "+1+cmd|' /C calc'!A0",
    ],
)
def test_what_would_be_a_formula_gets_a_mark(text: str) -> None:
    assert str(format_cell(text)).startswith("'")


@pytest.mark.parametrize(
    "value", ["ZOË MÜLLER", "+12125550142", "0049151000000", "1E5", "a-b", "x=1", "", None, 5]
)
def test_other_values_stay_as_they_are(value: object) -> None:
    assert format_cell(value) == value


@given(st.text(alphabet=STARTS + ";,\t\r\n \u00a0\"'aB1"))
def test_no_cell_begins_like_a_formula_whatever_separates(text: str) -> None:
    body = b"".join(read_chunks(write_csv([["name", text, "end"]]))).decode("utf-8-sig")
    for separator in ",;\t":
        for row in csv.reader(io.StringIO(body, newline=""), delimiter=separator):
            for cell in row:
                bare = cell.strip()
                assert not bare.startswith(tuple(STARTS)) or bare[1:].isdigit()


def test_every_cell_is_quoted_and_a_mark_tells_the_encoding() -> None:
    body = b"".join(read_chunks(write_csv([["name", "n"], ["ZOË", 5]])))
    assert body == b'\xef\xbb\xbf"name","n"\r\n"ZO\xc3\x8b","5"\r\n'
