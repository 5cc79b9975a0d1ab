"""Bodies of list responses become Arrow tables, and no value is lost on the way."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

import pyarrow as pa
import pytest
from dlt.common.normalizers.naming.snake_case import NamingConvention
from hypothesis import given, settings
from hypothesis import strategies as st

from vbc_source.schema.columns import INSTANT, VARIANT, guess_type
from vbc_source.schema.names import normalize
from vbc_source.schema.pages import read_page
from vbc_source.schema.specs import EXTENSION, RECORDING, USER, RowSpec
from vbc_source.schema.tables import build_table, split_lists

FIELDS, LISTS = RECORDING.fields, RECORDING.lists
CALLER = 12125550143
KEY = ("account_id",)


def repeatable(examples: int) -> settings:
    """Settings for a property test that tries the same examples in every run."""
    return settings(derandomize=True, deadline=None, database=None, max_examples=examples)


# generating nested values is slow: few of them every day, many in the slow tests
few_or_many = pytest.mark.parametrize("examples", [20, pytest.param(200, marks=pytest.mark.slow)])

DOCUMENTED = {
    "_links": {"self": {"href": "https://api.vonage.com/accounts/549825/company_call_recordings/193228"}},
    "call_direction": "INBOUND",
    "call_id": "c91150a6-8cc4-4e73-9fef-17fd925c6448",
    "caller_id": CALLER,
    "cnam": "JANE DOE",
    "dnis": "13475550100",
    "download_url": "https://api.vonage.com/t/vbc.prod/call_recording/api/audio/recording/193228",
    "duration": 60000,
    "end": "2019-01-01T00:01:00+0000",
    "extensions": [999],
    "file_name": "730048.1463122442148.mp3",
    "file_size_in_bytes": 100000,
    "id": 193228,
    "rule_ids": [1989, 2012, 449],
    "start": "2019-01-01T00:00:00+0000",
}


def body(*recordings: Any, **more: Any) -> bytes:
    answer = {"total_items": len(recordings), "_embedded": {"recordings": recordings}, **more}
    return json.dumps(answer).encode()


def recording(id_: Any = 1, **fields: Any) -> dict[str, Any]:
    return {"id": id_, **fields}


def load(*pages: Sequence[Any], known: Mapping[str, pa.DataType | None] | None = None) -> pa.Table:
    """The table of pages of recordings of account 549825."""
    rows = [read_page(body(*page)).rows for page in pages]
    return build_table(rows, {"account_id": "549825"}, (known or {}).get)


def load_one(**fields: Any) -> dict[str, Any]:
    (row,) = load([recording(**fields)]).to_pylist()
    return row


def split(*recordings: Any) -> dict[str, pa.Table]:
    return split_lists(load(recordings), KEY)


def utc(*parts: int) -> datetime:
    year, month, day, *clock = parts
    return datetime(year, month, day, *clock, tzinfo=timezone.utc)


# Two decoders: a body with rows as documented is decoded into structs, any other into dicts

ODD_VALUES = [
    *(b"null", b"true", b"false", b"0", b"-0", b"1", b"1.0", b"1.5", b"1e2", b"1E400", b"NaN", b"-Infinity"),
    *(
        b"9007199254740993",
        b"9223372036854775807",
        b"9223372036854775808",
        b"1" * 40,
        b"-9223372036854775809",
    ),
    *(b'""', b'"text"', b'"12"', b'" 12 "', b'"1.5"', b'"null"', b'"true"', b'"[1]"', b'"{}"', b'"0012"'),
    *(b'"2019-01-01T00:00:00+0000"', b'"2019-01-01T05:30:00.123456789+05:30"', b'"2019-01-01 00:00:00"'),
    *(b'"2019-01-01"', b'"01/02/2019"', b'"0000-01-01T00:00:00Z"', b'"20000-01-01T00:00:00Z"'),
    *(b'"\\u0041\\n\\"\\/\\\\"', b'"\\u0000"', b'"\\ud83d\\ude00"', b'"\\ud83d"', b'"\xc3\xa9"', b'"\xe9"'),
    *(b"[]", b"[ ]", b"[null]", b"[1]", b"[1,2,null]", b'[1,"2"]', b'["a"]', b"[1.5]", b"[true]", b"[1e400]"),
    *(b"[{}]", b'[{"a":[1]}]', b"[[1],[]]", b"[9223372036854775808]", b"{}", b'{"a":1}', b'{"a":{"b":[1]}}'),
]


def load_raw(*recordings: bytes) -> tuple[Any, ...] | None:
    """What is read of recordings in JSON: their table, ids and seconds; None where it is an error."""
    rows = b",".join(recordings)
    try:
        page = read_page(b'{"total_items":%d,"_embedded":{"recordings":[%s]}}' % (len(recordings), rows))
    except ValueError:
        return None
    return build_table([page.rows], {}, lambda _: None), list(page.ids), dict(page.seconds())


def assert_decoders_agree(*recordings: bytes) -> None:
    # a field that no spec knows makes it the other decoder's; without a value it becomes no column
    others = [row[:-1] + b',"more":null}' for row in recordings]
    assert load_raw(*recordings) == load_raw(*others)
    assert load_raw(*recordings, b'{"id":7,"more":null}') == load_raw(*recordings, b'{"id":7}')


# every third value every day, the others in the slow tests
ODD = [
    pytest.param(value, marks=[] if place % 3 == 0 else pytest.mark.slow)
    for place, value in enumerate(ODD_VALUES)
]
EACH = [(name,) for name in FIELDS]
BY_TYPE = [tuple(name for name in FIELDS if FIELDS[name] == kind) for kind in dict.fromkeys(FIELDS.values())]
# fields of a type are read alike: together every day, each alone in the slow tests
together_or_alone = pytest.mark.parametrize(
    "fields", [pytest.param(BY_TYPE, id="together"), pytest.param(EACH, marks=pytest.mark.slow, id="alone")]
)


@together_or_alone
@pytest.mark.parametrize("value", ODD)
def test_both_decoders_read_odd_values_alike(value: bytes, fields: list[tuple[str, ...]]) -> None:
    for names in (*fields, *((name,) for name in (*LISTS, *RECORDING.ignored, "_links", "id"))):

        def write(id_: int, value: bytes, names: tuple[str, ...] = names) -> bytes:
            values = b",".join(b'"%s":%s' % (name.encode(), value) for name in names)
            return b'{"id":%d,%s}' % (id_, values) if names != ("id",) else b'{"id":%s}' % value

        odd = write(1, value)
        assert_decoders_agree(odd)
        for usual in (b"7", b'"x"'):
            assert_decoders_agree(write(2, usual) if names != ("id",) else b'{"id":2}', odd)


@pytest.mark.parametrize(
    "row",
    [
        b'{"id":1,"cnam":"A","cnam":"B"}',
        b'{"id":1,"extensions":[1],"extensions":["2"]}',
        b'{"id":1,"extensions":[1],"extensions":5}',
        b'{"id":1,"id":2}',
        b'{ "id" : 1 , "cnam" : "A" }',
        b'{"id":1,"cnam":"A",}',
        b'{"cnam":"A"}',
    ],
)
def test_both_decoders_read_odd_rows_alike(row: bytes) -> None:
    assert_decoders_agree(row)
    assert_decoders_agree(b'{"id":9,"extensions":[3]}', row)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
ROWS = st.lists(
    st.dictionaries(st.sampled_from([*FIELDS, *LISTS, *RECORDING.ignored]), VALUES, max_size=5), max_size=4
)


@few_or_many
def test_both_decoders_read_any_page_alike(examples: int) -> None:
    @repeatable(examples)
    @given(ROWS)
    def check(rows: list[dict[str, Any]]) -> None:
        encoded = [json.dumps({"id": id_, **row}).encode() for id_, row in enumerate(rows)]
        assert_decoders_agree(*encoded)

    check()


# A page


def test_documented_recording_becomes_typed_columns() -> None:
    (row,) = load([DOCUMENTED]).to_pylist()
    assert row == {
        **{name: value for name, value in DOCUMENTED.items() if name != "_links"},
        "account_id": "549825",
        "caller_id": "12125550143",
        "start": utc(2019, 1, 1),
        "end": utc(2019, 1, 1, 0, 1),
        "extensions": ["999"],
        "rule_ids": ["1989", "2012", "449"],
    }


def test_known_columns_have_fixed_types() -> None:
    kinds = {**FIELDS, "id": pa.int64(), "account_id": pa.string()}
    for table in (
        load([DOCUMENTED]),
        load([recording()]),
        load([]),
        load([recording(duration="?", start=1)]),
    ):
        assert {name: table.schema.field(name).type for name in kinds} == kinds


def test_page_has_counts_and_start_times() -> None:
    page = read_page(
        body(
            recording(7, start="2019-01-01T00:00:01.999Z"),
            recording(8, start="2019-01-01T05:30:01+05:30"),
            recording(9, start=None),
            recording(7, start="2019-01-01T00:00:01.999Z"),
            total_items=40,
            page_size=4,
        )
    )
    assert (page.total_items, page.page_size, page.count) == (40, 4, 4)
    assert page.seconds() == {7: 1546300801, 8: 1546300801, 9: None}


def test_page_has_links_of_the_list_and_of_its_first_row() -> None:
    links = {"self": {"href": "https://api.vonage.com/accounts/549825/company_call_recordings"}}
    page = read_page(body(DOCUMENTED, recording(2), _links=links))
    assert page.links == (links["self"]["href"], DOCUMENTED["_links"]["self"]["href"])
    with_new_field = read_page(body({**DOCUMENTED, "new": 1}, _links=links))
    assert with_new_field.links == page.links


@pytest.mark.parametrize("links", [None, [], "self", {}, {"self": None}, {"self": {"href": 5}}, {"self": []}])
def test_malformed_links_are_ignored(links: Any) -> None:
    assert read_page(body(recording(_links=links), _links=links)).links == ()


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"_embedded": None},
        {"_embedded": {}},
        {"_embedded": {"recordings": None}},
        {"_embedded": {"recordings": []}},
        {"_embedded": {"recordings": []}, "total_pages": 0, "page": 1, "page_size": 10},
        {"_links": {"self": {"href": "https://api.vonage.com/"}}},
    ],
)
def test_empty_list_may_lack_rows_and_number_of_pages(answer: dict[str, Any]) -> None:
    page = read_page(json.dumps({"total_items": 0, **answer}).encode())
    assert (page.total_items, page.count, page.ids, page.seconds()) == (0, 0, [], {})
    assert build_table([page.rows], {"account_id": "1"}, lambda _: None).num_rows == 0


@pytest.mark.parametrize(("value", "read"), [(7, 7), ("7", 7), (7.0, 7), (0, 0)])
def test_total_may_be_a_number_or_text(value: Any, read: int) -> None:
    assert read_page(body(total_items=value)).total_items == read


@pytest.mark.parametrize("value", [None, "100", 0, -1, 1.5, True, [], {}])
def test_implausible_page_size_is_ignored(value: Any) -> None:
    assert read_page(body(page_size=value)).page_size is None


BROKEN = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"<html>12125550143</html>",
    b'{"total_items":1,"_embedded":{"recordings":[{"id":12125550143',
    b'{"total_items":1} 12125550143',
    b'{"total_items":null}',
    b'{"total_items":true}',
    b'{"total_items":"12125550143 or so"}',
    b'{"total_items":12125550143.5}',
    b'{"total_items":NaN}',
    b'{"total_items":1,"_embedded":"12125550143"}',
    b'{"total_items":1,"_embedded":["12125550143"]}',
    b'{"total_items":1,"_embedded":{"recordings":"12125550143"}}',
    b'{"total_items":1,"_embedded":{"recordings":{"12125550143":{}}}}',
    b'{"total_items":1000000000000000000,"_embedded":{"recordings":[]}}',
    b'{"total_items":-1,"_embedded":{"recordings":[]}}',
    b'{"total_items":1,"_embedded":{"recordings":[{"id":1,"cnam":"12125550143"\xff}]}}',
    b'{"total_items":1,"_embedded":{"recordings":[{"id":1,"12125550143":\xff}]}}',
    b'\xff\xfe{"total_items":0}',
]


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity"])
def test_number_that_json_does_not_have_is_null(word: str) -> None:
    row = f'{{"id":1,"cnam":"\\"{word}, {word}","caller_id":{word},"new":[{word}]}}'
    page = read_page(f'{{"total_items":1,"_embedded":{{"recordings":[{row}]}}}}'.encode())

    (read,) = page.rows.table.to_pylist()
    assert (read["cnam"], read["caller_id"]) == (f'"{word}, {word}', None)


def test_empty_list_in_place_of_embedded_is_an_empty_page() -> None:
    assert read_page(b'{"total_items":0,"_embedded":[]}').count == 0


@pytest.mark.parametrize("broken", BROKEN)
def test_error_for_a_broken_body_contains_none_of_it(broken: bytes) -> None:
    with pytest.raises(ValueError, match=r"^(?!.*5550143)"):
        read_page(broken)


@pytest.mark.parametrize(
    "row",
    [
        *({"id": id_} for id_ in (None, "", "12125550143x", "1.5", 1.5, True, [], {}, ["12125550143"])),
        *({"id": id_} for id_ in ("9" * 19, 1e19, -1e30, 2**63, -(2**63) - 1, 10**30)),
        *({"duration": 5}, {"new": 1}, None, "12125550143", 12125550143, []),
    ],
)
def test_row_without_a_usable_id_is_left_out_and_counts(row: Any) -> None:
    page = read_page(body(row, recording(1, cnam="kept"), row))

    assert (page.count, page.ids, page.seconds()) == (3, [1], {1: None})
    assert page.rows.table["cnam"].to_pylist() == ["kept"]
    assert read_page(body(row)).ids == []


def test_deeply_nested_body_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"^(?!.*deep)"):
        read_page(b'{"total_items":1,"deep":' + b"[" * 100_000)


@pytest.mark.parametrize("id_", [193228, "193228", " 193228 ", "+193228", 193228.0])
def test_id_may_be_a_number_or_numeric_text(id_: Any) -> None:
    assert read_page(body(recording(id_))).ids == [193228]


# Known columns


@pytest.mark.parametrize(
    ("caller", "text"),
    [
        (CALLER, "12125550143"),
        (float(CALLER), "12125550143"),
        ("12125550143", "12125550143"),
        ("+1 212-555-0143", "+1 212-555-0143"),
        ("Anonymous", "Anonymous"),
        ("0012125550143", "0012125550143"),
        ("", ""),
        (None, None),
        (0, "0"),
        (0.5, "0.5"),
        (10**30, "1" + "0" * 30),
        (True, "true"),
        ([CALLER], "[12125550143]"),
        ({"number": "Anonymous"}, '{"number":"Anonymous"}'),
    ],
)
@pytest.mark.parametrize("name", ["caller_id", "dnis", "cnam", "call_id"])
def test_caller_is_always_text(name: str, caller: Any, text: str | None) -> None:
    row = load_one(**{name: caller})
    assert row[name] == text
    assert name + VARIANT not in row


def test_numeric_and_text_callers_share_a_column() -> None:
    table = load([recording(1, caller_id=CALLER), recording(2, caller_id="Anonymous"), recording(3)])
    assert table["caller_id"].to_pylist() == ["12125550143", "Anonymous", None]


INSTANTS = [
    ("2019-01-01T00:00:00+0000", utc(2019, 1, 1)),
    ("2019-01-01T00:00:00Z", utc(2019, 1, 1)),
    ("2019-01-01T05:30:00+05:30", utc(2019, 1, 1)),
    ("2018-12-31T16:00:00-0800", utc(2019, 1, 1)),
    ("2019-01-01T00:00:00", utc(2019, 1, 1)),
    ("2019-01-01 00:00:00", utc(2019, 1, 1)),
    ("2019-01-01T00:00:00.1Z", utc(2019, 1, 1, 0, 0, 0, 100_000)),
    ("2019-01-01T00:00:00.123Z", utc(2019, 1, 1, 0, 0, 0, 123_000)),
    ("2019-01-01T00:00:00.123+0000", utc(2019, 1, 1, 0, 0, 0, 123_000)),
    ("2019-01-01T00:00:00.123", utc(2019, 1, 1, 0, 0, 0, 123_000)),
    ("2019-01-01T00:00:00.123456Z", utc(2019, 1, 1, 0, 0, 0, 123_456)),
    ("2019-01-01T00:00:00.123456789Z", utc(2019, 1, 1, 0, 0, 0, 123_456)),
    ("2019-01-01T05:30:00.123456789+05:30", utc(2019, 1, 1, 0, 0, 0, 123_456)),
    ("2020-02-29T23:59:59Z", utc(2020, 2, 29, 23, 59, 59)),
    ("1969-12-31T23:59:59Z", utc(1969, 12, 31, 23, 59, 59)),
    (None, None),
]


@pytest.mark.parametrize("beside", ["2019-01-01T00:00:00Z", "yesterday"])
@pytest.mark.parametrize(("value", "read"), INSTANTS)
def test_instants_of_every_format_become_utc(value: Any, read: datetime | None, beside: str) -> None:
    table = load([recording(1, start=value, end=value), recording(2, start=beside, end=beside)])
    for name in ("start", "end"):
        assert table.schema.field(name).type == INSTANT
        assert table[name][0].as_py() == read
        if name + VARIANT in table.column_names:
            assert table[name + VARIANT][0].as_py() is None


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("yesterday", "yesterday"),
        ("", ""),
        ("2019-01-01", "2019-01-01"),
        ("2019-13-01T00:00:00Z", "2019-13-01T00:00:00Z"),
        ("2019-02-29T00:00:00Z", "2019-02-29T00:00:00Z"),
        ("2019-01-01T00:00:60Z", "2019-01-01T00:00:60Z"),
        ("2019-01-01T00:00:00+99:00", "2019-01-01T00:00:00+99:00"),
        ("0000-00-00T00:00:00Z", "0000-00-00T00:00:00Z"),
        (1546300800000, "1546300800000"),
        ({"seconds": 1}, '{"seconds":1}'),
        (True, "true"),
    ],
)
def test_unreadable_instant_is_kept_as_text(value: Any, text: str) -> None:
    row = load_one(start=value, end="2019-01-01T00:00:00Z")
    assert (row["start"], row["start" + VARIANT]) == (None, text)
    assert row["end"] == utc(2019, 1, 1)
    assert "end" + VARIANT not in row


def test_null_end_stays_null() -> None:
    row = load_one(start="2019-01-01T00:00:00Z", end=None)
    assert row["end"] is None
    assert "end" + VARIANT not in row


@pytest.mark.parametrize("name", ["duration", "file_size_in_bytes"])
@pytest.mark.parametrize(
    ("value", "read"),
    [
        (0, 0),
        (9_000_000_000, 9_000_000_000),
        ("9000000000", 9_000_000_000),
        (60000.0, 60000),
        (" 60000 ", 60000),
        ("-1", -1),
        (2**63 - 1, 2**63 - 1),
        (-(2**63), -(2**63)),
        (None, None),
    ],
)
def test_whole_numbers_are_read_from_numbers_and_text(name: str, value: Any, read: int | None) -> None:
    row = load_one(**{name: value})
    assert row[name] == read
    assert name + VARIANT not in row


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (60000.5, "60000.5"),
        ("60000.5", "60000.5"),
        ("1:00", "1:00"),
        ("NaN", "NaN"),
        ("Infinity", "Infinity"),
        ("", ""),
        (2**63, str(2**63)),
        (10**30, str(10**30)),
        (str(10**30), str(10**30)),
        (1e30, str(int(1e30))),
        (False, "false"),
        ({}, "{}"),
        ([60000], "[60000]"),
    ],
)
def test_duration_that_is_not_a_whole_number_is_kept_as_text(value: Any, text: str) -> None:
    table = load([recording(1, duration=value), recording(2, duration=5)])
    assert table["duration"].to_pylist() == [None, 5]
    assert table["duration" + VARIANT].to_pylist() == [text, None]


def test_missing_field_equals_null() -> None:
    nulls = dict.fromkeys([*FIELDS, *LISTS, "extension"])
    assert load([recording(1, **nulls)]).equals(load([recording(1)]))


# Lists


@pytest.mark.parametrize(
    ("value", "texts"),
    [
        ([999], ["999"]),
        (["999"], ["999"]),
        ([999, "1000"], ["999", "1000"]),
        (["0999"], ["0999"]),
        ([999, None], ["999", None]),
        ([None, "999"], [None, "999"]),
        (["999", None, 1000], ["999", None, "1000"]),
        ([0], ["0"]),
        ([0, "a"], ["0", "a"]),
        (999, ["999"]),
        ([9_000_000_000], ["9000000000"]),
        ([{}], [None]),
        ([{}, 999], [None, "999"]),
        ([{"number": 999}], ['{"number":999}']),
        ([[999]], ["[999]"]),
        ([True, False, 1], ["true", "false", "1"]),
        ({"number": 999}, ['{"number":999}']),
    ],
)
@pytest.mark.parametrize("name", LISTS)
def test_list_items_become_text_in_order(name: str, value: Any, texts: list[str | None]) -> None:
    for beside in ([7], ["x"], None):
        table = load([recording(1, **{name: value}), recording(2, **{name: beside})])
        assert table[name][0].as_py() == texts


@pytest.mark.parametrize("beside", [["7"], [7], [7, "7"], None])
@pytest.mark.parametrize("name", LISTS)
def test_single_text_counts_as_a_list_of_one(name: str, beside: Any) -> None:
    # Arrow takes a text for a list of its characters
    table = load([recording(1, **{name: "101"}), recording(2, **{name: beside})])
    assert table[name][0].as_py() == ["101"]


@pytest.mark.parametrize("value", [[101.5], [101.5, 7], [101, 0.25], [1e-9]])
@pytest.mark.parametrize("name", LISTS)
def test_fractions_in_a_list_are_not_truncated(name: str, value: list[Any]) -> None:
    # Arrow cuts fractions off where they stand in lists
    values = load_one(**{name: value})[name]
    assert [float(item) for item in values] == value


@pytest.mark.parametrize("value", [[2**63], [10**30], [10**30, None], [1, -(10**30)]])
@pytest.mark.parametrize("name", LISTS)
def test_number_beyond_64_bits_in_a_list_is_kept(name: str, value: list[Any]) -> None:
    assert load_one(**{name: value})[name] == [None if item is None else str(item) for item in value]


# Unknown fields


@pytest.mark.parametrize(
    ("values", "kind", "read"),
    [
        ([1, None, 2], pa.int64(), [1, None, 2]),
        ([1.5, None, 2.25], pa.float64(), [1.5, None, 2.25]),
        ([1, 2.5], pa.float64(), [1.0, 2.5]),
        ([True, None, False], pa.bool_(), [True, None, False]),
        (["a", None, ""], pa.string(), ["a", None, ""]),
        (["2019-01-01T00:00:00Z"], pa.string(), ["2019-01-01T00:00:00Z"]),
        ([1, "a", 2.5, True, None], pa.string(), ["1", "a", "2.5", "true", None]),
        ([True, 1], pa.string(), ["true", "1"]),
        ([{"a": [1, None]}, {}], pa.string(), ['{"a":[1,null]}', "{}"]),
        ([[1, "a"], []], pa.string(), ['[1,"a"]', "[]"]),
        ([{"a": 1}, 7, "x"], pa.string(), ['{"a":1}', "7", "x"]),
    ],
)
def test_unknown_field_gets_a_type_by_its_values(
    values: list[Any], kind: pa.DataType, read: list[Any]
) -> None:
    table = load([recording(id_, mood=value) for id_, value in enumerate(values)])
    assert table.schema.field("mood").type == kind
    assert table["mood"].to_pylist() == read
    assert "mood" + VARIANT not in table.column_names
    assert guess_type(values) == kind


def test_unknown_field_without_values_becomes_no_column() -> None:
    assert load([recording(1, mood=None, extension=None), recording(2)]).equals(
        load([recording(1), recording(2)])
    )


def test_unknown_fields_do_not_change_known_columns() -> None:
    odd = [
        recording(
            1, caller_id="Anonymous", duration="60000", extensions=[1, "2"], start="2019-01-01T00:00:00"
        ),
        recording("2", caller_id=CALLER, duration=1.5, extensions=None, end="soon"),
    ]
    plain = load([DOCUMENTED, *odd])
    table = load([{**DOCUMENTED, "mood": "glad"}, *odd])
    assert table.drop_columns("mood").equals(plain)


def test_extension_beside_extensions_is_kept_only_with_a_value() -> None:
    assert "extension" not in load_one(extension=None, extensions=[101])
    row = load_one(extension=101, extensions=[102])
    assert (row["extension"], row["extensions"]) == (101, ["102"])


def test_unknown_field_may_appear_in_any_row() -> None:
    table = load([recording(1), recording(2, mood="glad"), recording(3, weather={"rain": True})])
    assert table["mood"].to_pylist() == [None, "glad", None]
    assert table["weather"].to_pylist() == [None, None, '{"rain":true}']


def test_unknown_field_of_some_pages_is_null_elsewhere() -> None:
    pages = [[recording(1)], [recording(2, mood=1), recording(3)], [], [recording(4, weather="rain")]]
    table = load(*pages)
    assert table.select(["id", "mood", "weather"]).to_pylist() == [
        {"id": 1, "mood": None, "weather": None},
        {"id": 2, "mood": 1, "weather": None},
        {"id": 3, "mood": None, "weather": None},
        {"id": 4, "mood": None, "weather": "rain"},
    ]


def test_unknown_field_gets_a_type_by_the_values_of_all_pages() -> None:
    table = load([recording(1, mood=1)], [recording(2, mood="glad")])
    assert table["mood"].to_pylist() == ["1", "glad"]


@pytest.mark.parametrize(
    ("kind", "values", "fitting", "others"),
    [
        (pa.int64(), [1, "glad", "7"], [1, None, 7], [None, "glad", None]),
        (pa.int64(), [1.5, {"a": 1}, False], [None] * 3, ["1.5", '{"a":1}', "false"]),
        (pa.int64(), [2**63, 1], [None, 1], [str(2**63), None]),
        (pa.float64(), [1, 2.5, "3.5"], [1.0, 2.5, None], [None, None, "3.5"]),
        (pa.bool_(), [True, 1, "true"], [True, None, None], [None, "1", "true"]),
        (INSTANT, ["2019-01-01T00:00:00Z", "soon"], [utc(2019, 1, 1), None], [None, "soon"]),
        (pa.string(), [1, "a", None], ["1", "a", None], None),
    ],
)
def test_value_that_does_not_fit_the_loaded_type_goes_to_a_variant_column(
    kind: pa.DataType, values: list[Any], fitting: list[Any], others: list[Any] | None
) -> None:
    rows = [recording(id_, mood=value) for id_, value in enumerate(values)]
    table = load(rows, known={"mood": kind})
    assert table.schema.field("mood").type == kind
    assert table["mood"].to_pylist() == fitting
    if others is None:
        assert "mood" + VARIANT not in table.column_names
    else:
        assert table["mood" + VARIANT].to_pylist() == others


@pytest.mark.parametrize("known", [None, pa.float64()])
def test_whole_number_beside_fractions_keeps_all_digits(known: pa.DataType | None) -> None:
    # no float is the same
    rows = [recording(1, mood=2**53 + 1), recording(2, mood=0.5)]
    table = load(rows, known={"mood": known})
    assert is_kept(2**53 + 1, cells(table, 0, "mood"))


def test_number_too_large_for_a_float_is_kept() -> None:
    table = load([recording(1, mood=10**400), recording(2, mood=0.5)])
    assert is_kept(10**400, cells(table, 0, "mood"))


@pytest.mark.parametrize("value", [549825, "549825", None])
def test_unknown_field_does_not_replace_a_key_column(value: Any) -> None:
    table = load([recording(1, account_id=value), recording(2, account_id=7), recording(3)])
    assert table["account_id"].to_pylist() == ["549825"] * 3
    assert table.schema.field("account_id") == pa.field("account_id", pa.string(), nullable=False)


TAKEN = [
    "account_id",
    "Account_ID",
    "accountId",
    "Duration",
    "ID",
    "user_id",
    "position",
    "is_empty",
    "gone_at",
]


@pytest.mark.parametrize("name", [*TAKEN, "recording_type", "recordingId", "Rule ids", "xmin"])
def test_unknown_field_with_a_taken_name_has_its_own(name: str) -> None:
    plain = {"duration": 5, "extensions": [101], **recording(1)}
    table = load([{**plain, name: "mine"}, recording(2)])
    column = normalize(name) + "__api"
    assert table[column].to_pylist() == ["mine", None]
    assert table.drop_columns(column).equals(load([plain, recording(2)]))
    assert table.schema.field("account_id") == pa.field("account_id", pa.string(), nullable=False)


@pytest.mark.parametrize("name", ["_dlt_load_id", "_dlt_id", "_DLT_Parent_Id", "__dlt_root_id"])
def test_no_field_gets_a_column_of_dlt(name: str) -> None:
    table = load([recording(1, **{name: "mine"})])
    assert not [column for column in table.column_names if column.startswith("_dlt")]
    assert table[normalize(name)].to_pylist() == ["mine"]


def test_variant_column_holds_no_other_field() -> None:
    row = load_one(duration="soon", Duration=5, duration__v_text=6)
    assert (row["duration"], row["duration__v_text"]) == (None, "soon")
    assert (row["duration__api"], row["duration_v_text"]) == (5, 6)


def test_fields_of_one_name_are_distinguished_row_by_row() -> None:
    rows = [
        recording(1, agentName="a"),
        recording(2, agent_name="b", agentName="c", AgentName="d"),
        recording(3, agentName="e", agent_name=None),
    ]
    table = load(rows)
    assert table["agent_name"].to_pylist() == ["a", "b", "e"]
    assert table["agent_name__api"].to_pylist() == [None, "d", None]
    assert table["agent_name__api_2"].to_pylist() == [None, "c", None]
    for row in rows:  # in whatever company it comes
        alone = load([dict(reversed(row.items()))]).to_pylist()[0]
        assert alone.items() <= load(rows).to_pylist()[row["id"] - 1].items()


@pytest.mark.parametrize(
    "name", ["", " ", "_", "é", "名前", "1st", "a" * 200, "select", "a.b", "x" * 60 + "é"]
)
def test_any_name_becomes_a_column_that_every_destination_takes(name: str) -> None:
    column = normalize(name)
    assert re.fullmatch("[a-z_][a-z0-9_]{0,47}", column)
    assert "__" not in column
    assert load([recording(1, **{name: 7})])[column].to_pylist() == [7]


def test_long_names_with_the_same_beginning_stay_apart() -> None:
    row = load_one(**{"a" * 100 + "b": 1, "a" * 100 + "c": 2})
    assert sorted(value for name, value in row.items() if name.startswith("aaa")) == [1, 2]


@repeatable(100)
@given(st.text(max_size=80) | st.text("aAbB_1 -.é", max_size=12))
def test_dlt_leaves_names_as_they_are(name: str) -> None:
    column = normalize(name)
    assert normalize(column) == column
    for suffix in ("", "__api", "__api_2__v_text"):
        assert NamingConvention(63).normalize_path(column + suffix) == column + suffix


def load_people(*rows: Any, spec: RowSpec, key: Sequence[str] = KEY) -> dict[str, list[dict[str, Any]]]:
    """The rows of a list of the Provisioning API, and those of its child tables."""
    answer = {"total_items": len(rows), "_embedded": {"data": rows}}
    page = read_page(json.dumps(answer).encode(), spec)
    table = build_table([page.rows], {"account_id": "549825"}, lambda _: None, spec)
    children = split_lists(table, key, spec)
    tables = {"": table.drop_columns(list(children)), **children}
    return {name: table.to_pylist() for name, table in tables.items()}


def test_items_of_lists_do_not_replace_our_columns() -> None:
    item = {"extension_number": "101", "extension": "x", "user_id": 5, "accountId": 6, "Position": 7}
    tables = load_people(
        {"id": 1, "extensions": [{}, {**item, "isEmpty": True, "_dlt_load_id": 8, "userID": 9}]}, spec=USER
    )
    (row,) = tables["extensions"]
    ours = {name: row[name] for name in ("account_id", "user_id", "position", "extension", "is_empty")}
    assert ours == dict(zip(ours, ("549825", "1", 1, "101", None), strict=True))
    assert (row["extension__api"], row["user_id__api"], row["user_id__api_2"]) == ("x", "5", "9")
    assert (row["account_id__api"], row["position__api"], row["is_empty__api"]) == ("6", "7", "true")
    assert row["dlt_load_id"] == "8"


def test_fields_of_an_extension_and_of_its_user_do_not_meet() -> None:
    user = {"id": 7, "email": "a@example.com", "nick": "A"}
    row = {
        "extension_number": "101",
        "user_id": 8,
        "user_nick": "B",
        "extension": 9,
        "user_email": "b",
        "gone_at": 1,
    }
    for rows in ([{**row, "user": user}], [{"user": user, **row}]):
        (read,) = load_people(*rows, spec=EXTENSION)[""]
        assert (read["extension"], read["user_id"], read["user_email"]) == ("101", "7", "a@example.com")
        assert (read["extension__api"], read["user_id__api"], read["user_email__api"]) == (9, 8, "b")
        assert (read["user_nick"], read["user_nick__api"], read["gone_at__api"]) == ("B", "A", 1)
    (alone,) = load_people(row, spec=EXTENSION)[""]
    assert (alone["user_id"], alone["user_id__api"], alone["user_nick"]) == (None, 8, "B")


# Several pages


def test_pages_become_one_table_with_the_key_in_front() -> None:
    pages = [read_page(body(recording(id_ * 2), recording(id_ * 2 + 1))).rows for id_ in range(3)]
    table = build_table(pages, {"account_id": "549825", "user_id": "12"}, lambda _: None)
    assert table.column_names[:3] == ["account_id", "user_id", "id"]
    assert table.select(["account_id", "user_id", "id"]).to_pylist() == [
        {"account_id": "549825", "user_id": "12", "id": id_} for id_ in range(6)
    ]


def test_only_key_columns_are_not_nullable() -> None:
    table = load([DOCUMENTED, recording(2, mood=1)])
    assert {field.name for field in table.schema if not field.nullable} == {"account_id", "id"}


def test_first_row_wins_if_an_id_is_on_two_pages() -> None:
    first = [recording(1, cnam="A"), recording(2, cnam="B", mood=1)]
    table = load(
        first, [recording(2, cnam="C", mood=2), recording(3), recording(1)], [recording(3, cnam="D")]
    )
    assert table.select(["id", "cnam", "mood"]).to_pylist() == [
        {"id": 1, "cnam": "A", "mood": None},
        {"id": 2, "cnam": "B", "mood": 1},
        {"id": 3, "cnam": None, "mood": None},
    ]


def test_unfitting_values_of_one_page_do_not_affect_other_pages() -> None:
    table = load([recording(1, duration=5)], [recording(2, duration="?")], [recording(3, duration=7)])
    assert table["duration"].to_pylist() == [5, None, 7]
    assert table["duration" + VARIANT].to_pylist() == [None, "?", None]


# Lists become tables


def test_lists_become_child_tables() -> None:
    tables = split(
        recording(5, extensions=[101, "102"], rule_ids=[7]), recording(6, extensions=["x"], rule_ids=[8, 9])
    )
    assert tables.keys() == LISTS.keys()
    assert tables["extensions"].to_pylist() == [
        child(5, 0, extension="101"),
        child(5, 1, extension="102"),
        child(6, 0, extension="x"),
    ]
    assert tables["rule_ids"].to_pylist() == [
        child(5, 0, rule_id=7),
        child(6, 0, rule_id=8),
        child(6, 1, rule_id=9),
    ]


def child(recording_id: int, position: int, *, is_empty: bool | None = None, **value: Any) -> dict[str, Any]:
    key = {"account_id": "549825", "recording_id": recording_id, "position": position}
    return {**key, **value, "is_empty": is_empty}


@pytest.mark.parametrize("empty", [[], None, [{}], [None], [None, {}], [[]], {}])
def test_empty_list_becomes_one_marked_row(empty: Any) -> None:
    table = split(recording(1, extensions=[101]), recording(2, extensions=empty), recording(3, extensions=[]))
    rows = sorted(table["extensions"].to_pylist(), key=lambda row: row["recording_id"])
    assert rows == [
        child(1, 0, extension="101"),
        child(2, 0, extension=None, is_empty=True),
        child(3, 0, extension=None, is_empty=True),
    ]


def test_position_counts_nulls_in_the_list() -> None:
    rows = split(recording(1, rule_ids=[None, 7, {}, 8]))["rule_ids"].to_pylist()
    assert rows == [child(1, 1, rule_id=7), child(1, 3, rule_id=8)]


def test_rule_that_is_not_a_number_is_kept_as_text() -> None:
    rows = split(recording(1, rule_ids=[7, "ad hoc", "8", {"id": 9}, "9" * 25]))["rule_ids"].to_pylist()
    assert [row["rule_id"] for row in rows] == [7, None, 8, None, None]
    assert [row["rule_id" + VARIANT] for row in rows] == [None, "ad hoc", None, '{"id":9}', "9" * 25]


def test_child_rows_have_all_key_columns() -> None:
    rows = [read_page(body(recording(1, extensions=[101]), recording(2))).rows]
    recordings = build_table(rows, {"account_id": "549825", "user_id": "12"}, lambda _: None)
    table = split_lists(recordings, ("account_id", "user_id"))["extensions"]
    assert table.column_names == [
        "account_id",
        "user_id",
        "recording_id",
        "position",
        "extension",
        "is_empty",
    ]
    assert [row["user_id"] for row in table.to_pylist()] == ["12", "12"]


def test_child_tables_have_fixed_types() -> None:
    full = split(recording(1, extensions=[101], rule_ids=[7]), recording(2))
    for other in (split(), split(recording(1)), split(recording(1, extensions=["a"], rule_ids=["7"]))):
        assert {name: table.schema for name, table in other.items()} == {
            name: table.schema for name, table in full.items()
        }
    keys = {"account_id", "recording_id", "position"}
    assert {field.name for field in full["extensions"].schema if not field.nullable} == keys


MANY = [
    recording(1, extensions=[101, 102], rule_ids=[1]),
    recording(2, extensions=None),
    recording(3, extensions=[103], rule_ids=[2, 3, 4]),
    recording(4, extensions=[], rule_ids=[{}]),
    recording(5, extensions=[104, None, 105], rule_ids=["5"]),
]


@pytest.mark.parametrize(
    "part",
    [
        lambda table: table.slice(1),
        lambda table: table.slice(2, 2),
        lambda table: table.slice(4),
        lambda table: table.slice(5),
        lambda table: table.slice(0, 0),
        lambda table: table.filter(pa.array([False] * 5)),
        lambda table: table.filter(pa.array([True, False, False, True, True])),
        lambda table: table.take([4, 0, 3]),
        lambda table: pa.concat_tables([table.slice(3), table.slice(0, 2)]),
        lambda table: table.slice(1, 3).slice(1, 1),
    ],
)
def test_part_of_a_table_has_only_its_own_children(
    part: Callable[[pa.Table], pa.Table],
) -> None:
    whole, some = load(MANY), part(load(MANY))
    ids = set(some["id"].to_pylist())
    for name, table in split_lists(some, KEY).items():
        expected = [row for row in split_lists(whole, KEY)[name].to_pylist() if row["recording_id"] in ids]
        order = ["recording_id", "position"]
        assert sorted_rows(table, order) == sorted(expected, key=lambda row: [row[key] for key in order])


def sorted_rows(table: pa.Table, order: list[str]) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=lambda row: [row[key] for key in order])


def test_missing_lists_have_no_child_tables() -> None:
    assert split_lists(load([DOCUMENTED]).drop_columns("rule_ids"), KEY).keys() == {"extensions"}
    assert split_lists(load([DOCUMENTED]).drop_columns(["rule_ids", "extensions"]), KEY) == {}


# Invalid characters, and values that only some destinations can store


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (rb"a\u0000b", "a␀b"),
        (rb"a\\u0000b", r"a\u0000b"),
        (rb"a\\\u0000b", "a\\␀b"),
        (rb"\ud83d\ude00", "😀"),
        (rb"a\ud83db", "a�b"),
        (rb"\uDE00\ud83d", "��"),
        (rb"\ud83d\ud83d\ude00", "�😀"),
        (rb"\\ud83d\ud83d", r"\ud83d�"),
        (b"caf\xe9", "caf�"),
    ],
)
@pytest.mark.parametrize("field", ["cnam", "mood", "extensions"])
def test_invalid_characters_are_replaced(sent: bytes, kept: str, field: str) -> None:
    response = body(recording(**{field: "SENT"})).replace(b"SENT", sent)
    table = build_table([read_page(response).rows], {}, {}.get)
    assert table[field].to_pylist() == [[kept] if field == "extensions" else kept]


@pytest.mark.parametrize("field", ["duration", "cnam", "mood", "extensions"])
def test_number_beyond_a_double_is_kept_as_text(field: str) -> None:
    response = body(recording(**{field: "SENT"})).replace(b'"SENT"', b"-1.5e999")
    table = build_table([read_page(response).rows], {}, {}.get)
    name = "duration__v_text" if field == "duration" else field
    assert table[name].to_pylist() == [["-1.5e999"] if field == "extensions" else "-1.5e999"]


@pytest.mark.parametrize(
    "text", ["0000-01-01T00:00:00Z", "0001-01-01T00:00:00+05:30", "9999-12-31T23:59:59-05:30"]
)
def test_instant_outside_the_supported_years_is_kept_as_text(text: str) -> None:
    table = load([recording(1, end=text), recording(2, end="2025-01-01T00:00:00Z")])
    assert table["end"].to_pylist() == [None, datetime(2025, 1, 1, tzinfo=timezone.utc)]
    assert table["end__v_text"].to_pylist() == [text, None]


# No value is dropped: the whole test in CI, fewer examples every day

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**25), 10**25),
    st.integers(-1000, 1000),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.integers(-(10**20), 10**20).map(str),
    st.sampled_from(["Anonymous", "NaN", "2019-01-01T00:00:00+0000", "2019-01-01T00:00:00.123456789Z", "01"]),
    st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)).map(lambda moment: moment.isoformat() + "Z"),
)
anything = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
new_names = st.sampled_from(["extension", "mood", "weather", "Mood", "call direction", "é"])


Case = tuple[list[list[dict[str, Any]]], dict[int, dict[str, Any]]]


@st.composite
def recordings(draw: st.DrawFn, fields: st.SearchStrategy[dict[str, Any]]) -> Case:
    """Pages of recordings, and the recordings by their id."""
    rows = [recording(id_, **row) for id_, row in enumerate(draw(st.lists(fields, min_size=1, max_size=4)))]
    cut = draw(st.integers(0, len(rows)))
    return [rows[:cut], rows[cut:]], {row["id"]: row for row in rows}


def cells(table: pa.Table, row: int, name: str) -> list[Any]:
    """The values of one row in the columns of a field, and in the variant columns beside them."""
    names = [normalize(name) + suffix for suffix in ("", "__api", "__api_2")]
    named = [name + suffix for name in names for suffix in ("", VARIANT)]
    columns = [table[name] for name in named if name in table.column_names]
    return [column[row].as_py() for column in columns if column[row].is_valid]


def is_kept(value: Any, cells: list[Any]) -> bool:
    """Whether one of the cells is the value, in whatever type."""
    return any(not forms(without_nul(value)).isdisjoint(forms(cell)) for cell in cells)


def without_nul(value: Any) -> Any:
    """A value with `␀` in place of NUL."""
    if isinstance(value, str):
        return value.replace("\0", "␀")
    if isinstance(value, list):
        return [without_nul(item) for item in value]
    return (
        {without_nul(name): without_nul(item) for name, item in value.items()}
        if isinstance(value, dict)
        else value
    )


def forms(value: Any) -> set[tuple[str, Any]]:
    """The readings of a value: a text may be a number, an instant or JSON."""
    if isinstance(value, bool):
        return {("text", str(value).lower())}
    if isinstance(value, (dict, list)):
        return {("json", json.dumps(value, sort_keys=True))}
    if isinstance(value, float) and value.is_integer():
        return {("float", value), ("int", int(value))}
    if not isinstance(value, str):
        return {(type(value).__name__, value)}
    readings: set[tuple[str, Any]] = {("text", value)}
    for kind, read in READINGS.items():
        with suppress(ValueError):
            readings.add((kind, read(value)))
    return readings


def read_utc(text: str) -> datetime:
    match = re.fullmatch(r"(.{19})(?:\.(\d+))?(?:Z|\+0000)?", text)
    if not match:
        raise ValueError(text)
    fraction = int((match[2] or "0")[:6].ljust(6, "0"))
    return datetime.fromisoformat(match[1]).replace(microsecond=fraction, tzinfo=timezone.utc)


READINGS: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "float": float,
    "datetime": read_utc,
    "json": lambda text: json.dumps(json.loads(text), sort_keys=True),
}


known_fields = st.fixed_dictionaries({}, optional=dict.fromkeys(FIELDS, anything))
new_fields = st.dictionaries(new_names, anything, max_size=3)


@few_or_many
def test_no_value_of_a_recording_is_lost(examples: int) -> None:
    @repeatable(examples)
    @given(recordings(st.builds(lambda known, new: {**known, **new}, known_fields, new_fields)))
    def nothing_is_lost(case: Case) -> None:
        pages, by_id = case
        table = load(*pages)
        table.validate(full=True)
        assert table["id"].to_pylist() == list(by_id)
        assert table["account_id"].to_pylist() == ["549825"] * len(by_id)
        for row, fields in enumerate(by_id.values()):
            for name, value in fields.items():
                assert value is None or is_kept(value, cells(table, row, name)), (name, value)

    nothing_is_lost()


large = st.integers(2**53, 2**65).map(lambda number: number | 1)  # odd: no float is the same
numbers = large | st.floats(allow_nan=False, allow_infinity=False) | st.integers()
columns = (
    st.lists(numbers, min_size=2, max_size=5) | st.lists(scalars, max_size=5) | st.lists(anything, max_size=5)
)


@few_or_many
@pytest.mark.parametrize("known", [None, pa.string(), pa.int64(), pa.float64(), pa.bool_(), INSTANT])
def test_no_value_of_an_unknown_field_is_lost(known: pa.DataType | None, examples: int) -> None:
    @repeatable(examples)
    @given(columns)
    def nothing_is_lost(values: list[Any]) -> None:
        table = load([recording(id_, mood=value) for id_, value in enumerate(values)], known={"mood": known})
        for row, value in enumerate(values):
            assert value is None or is_kept(value, cells(table, row, "mood"))

    nothing_is_lost()


@few_or_many
def test_no_value_of_a_list_is_lost(examples: int) -> None:
    @repeatable(examples)
    @given(recordings(st.fixed_dictionaries({}, optional=dict.fromkeys(LISTS, anything))))
    def nothing_is_lost(case: Case) -> None:
        pages, by_id = case
        tables = split_lists(load(*pages), KEY)
        for name, spec in LISTS.items():
            (column,) = spec.columns
            check_children(tables[name], column, {id_: fields.get(name) for id_, fields in by_id.items()})

    nothing_is_lost()


def check_children(table: pa.Table, column: str, lists: Mapping[int, Any]) -> None:
    rows = list(enumerate(table.to_pylist()))
    for id_, value in lists.items():
        items = value if isinstance(value, list) else [] if value is None else [value]
        filled = {place: item for place, item in enumerate(items) if item not in (None, "", {}, [])}
        by_position = {row["position"]: number for number, row in rows if row["recording_id"] == id_}
        for place, item in filled.items():
            assert is_kept(item, cells(table, by_position[place], column)), (column, item)
        empty = [row["is_empty"] for _, row in rows if row["recording_id"] == id_]
        assert empty == [True] or True not in empty
        assert not (filled and True in empty)


@repeatable(100)
@given(
    st.binary(max_size=60) | st.text(max_size=60).map(str.encode) | anything.map(json.dumps).map(str.encode)
)
def test_arbitrary_bytes_are_an_error(bytes_: bytes) -> None:
    try:
        read_page(bytes_)
    except ValueError:
        return
    assert b'"total_items"' in bytes_  # by chance a list response


@pytest.mark.parametrize("other", ["9", 9, None, {}])
def test_an_empty_text_in_a_list_is_kept_whatever_stands_beside_it(other: Any) -> None:
    body = json.dumps({"total_items": 1, "_embedded": {"recordings": [{"id": 1, "extensions": ["", other]}]}})
    (extensions,) = read_page(body.encode()).rows.table["extensions"].to_pylist()
    assert extensions == ["", "9" if other else None]


def test_an_empty_text_in_place_of_an_object_goes_to_the_first_column() -> None:
    body = json.dumps({"total_items": 1, "_embedded": {"data": [{"id": 1, "extensions": ["", "77"]}]}})
    table = build_table([read_page(body.encode(), USER).rows], {"account_id": "1"}, lambda _: None, USER)
    children = split_lists(table, ["account_id"], USER)["extensions"]
    assert children["extension"].to_pylist() == ["", "77"]
