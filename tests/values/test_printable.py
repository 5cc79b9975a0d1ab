"""Texts that users and callers chose, in messages: one line, without control characters."""

from __future__ import annotations

import logging

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vbc_source.errors import Forbidden, VbcError
from vbc_source.printable import escape_controls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("ZOË 名前", "ZOË 名前"),
        ("F\n2026-01-01 ERROR forged", r"F\n2026-01-01 ERROR forged"),
        ("\x1b]0;OWNED\x07", r"\x1b]0;OWNED\x07"),
        ("\x9b31m\x85\r", r"\x9b31m\x85\r"),
        ("a\u2028b\u202ec", r"a\u2028b\u202ec"),
    ],
)
def test_control_characters_are_shown_escaped(text: str, shown: str) -> None:
    assert escape_controls(text) == shown
    assert str(VbcError(text)) == shown
    assert str(Forbidden(403, hint=text)).endswith(f"{shown})")


@given(st.text())
def test_no_text_breaks_a_line_or_reaches_the_terminal(text: str) -> None:
    shown = escape_controls(text)
    assert len(shown.splitlines()) <= 1
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in shown)
    assert escape_controls(shown) == shown


def test_the_log_of_a_command_escapes_them_too() -> None:
    from vbc_source.cli.options import _Formatter

    record = logging.LogRecord("vbc_source", logging.INFO, "", 0, "user %s", ("F\nforged\x1b",), None)
    assert _Formatter("%(levelname)s %(message)s").format(record) == r"INFO user F\nforged\x1b"
