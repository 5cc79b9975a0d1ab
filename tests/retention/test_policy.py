"""A policy means what it says, or is refused with one line that names the rule."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vbc_source
from vbc_source.errors import UsageError
from vbc_source.retention.candidates import RetentionCandidate
from vbc_source.retention.decisions import NOT_ARCHIVED, STILL_AT_VBC, decide, is_done
from vbc_source.retention.facts import RecordingFacts
from vbc_source.retention.policy import ACTIONS, Rule, read_policy

KEEP = '[[rules]]\nname = "a"\nactions = ["keep"]\n'
DELETE = '[[rules]]\nname = "a"\nactions = ["delete_at_vbc"]\n'
ERASE = '[[rules]]\nname = "a"\nactions = ["delete_archive"]\n'
REFUSED = {
    "empty": ("", "it has no rules"),
    "blank": ("# nothing\n\n", "it has no rules"),
    "no TOML": ("rules: keep", "it is not TOML"),
    "cut off": (KEEP + "accounts = [", "it is not TOML"),
    "a key twice": (KEEP + 'name = "b"\n', "it is not TOML"),
    "byte order mark": ("\ufeff" + KEEP, "byte order mark"),
    "unknown key": ("holds = 'x'\n" + KEEP, "unknown key holds; known keys: rules, hold,"),
    "rules of another type": ("rules = 3", "rules: Expected array"),
    "a rule that is none": ("rules = [3]", r"rules\[0\]: Expected object"),
    "no hold file": ('hold = " "\n' + KEEP, "hold is empty"),
    "a plan that is valid for years": (
        "plan_valid_days = 999\n" + KEEP,
        "plan_valid_days: Expected int <= 31",
    ),
    "a minimum of another action": (KEEP + "[minimum_days]\nkeep = 3", "minimum_days: unknown key keep"),
    "no name": ('[[rules]]\nactions = ["keep"]', "rule number 1: name must be"),
    "a name that is a number to call": (
        KEEP.replace('"a"', '"to-4155550100"'),
        "rule number 1: name must be",
    ),
    "unknown key in a rule": (
        KEEP + "older_then_days = 3",
        "rule a: unknown key older_then_days; known keys",
    ),
    "no actions": ('[[rules]]\nname = "a"', "rule a: missing key actions"),
    "empty actions": (KEEP.replace('"keep"', ""), "rule a: actions must be keep, archive"),
    "unknown action": (KEEP.replace("keep", "purge"), "rule a: actions must be .* not 'purge'"),
    "an action that is no list": (KEEP.replace('["keep"]', '"keep"'), "rule a: actions: Expected array"),
    "an action twice": (KEEP.replace('["keep"]', '["keep", "keep"]'), "rule a: actions lists one twice"),
    "keep and delete": (
        KEEP.replace('["keep"]', '["keep", "delete_at_vbc"]'),
        "rule a: keep cannot be combined with a deletion",
    ),
    "negative age": (DELETE + "older_than_days = -1", "rule a: older_than_days: Expected int >= 1"),
    "no age": (DELETE, "rule a: delete_at_vbc needs older_than_days"),
    "an age of another type": (DELETE + 'older_than_days = "30"', "rule a: older_than_days: Expected int"),
    "an age that is true": (DELETE + "older_than_days = true", "rule a: older_than_days: Expected int"),
    "an age that no recording has": (DELETE + "older_than_days = 99999", "rule a: older_than_days: Expected"),
    "younger than the minimum": (
        ERASE + "older_than_days = 30\n[minimum_days]\ndelete_archive = 1826",
        "rule a: older_than_days is 30, but minimum_days.delete_archive is 1826",
    ),
    "an empty list": (KEEP + "extensions = []", "rule a: extensions is empty"),
    "numbers for texts": (KEEP + "extensions = [101]", r"rule a: extensions\[0\]: Expected str"),
    "texts for numbers": (KEEP + 'rule_ids = ["7"]', r"rule a: rule_ids\[0\]: Expected int"),
    "an unknown direction": (KEEP + 'directions = ["up"]', "rule a: directions must be INBOUND, .*'up'"),
    "longer than it is short": (
        KEEP + "longer_than_seconds = 9\nshorter_than_seconds = 9",
        "rule a: no call is longer",
    ),
    "one name twice": (KEEP + "older_than_days = 9\n" + KEEP, "rule a: two rules have this name"),
    "a rule behind all": (
        KEEP + KEEP.replace('"a"', '"b"') + "older_than_days = 9",
        "rule b: it never matches: rule a comes before it",
    ),
    "a rule behind a wider one": (
        KEEP + "older_than_days = 9\n" + KEEP.replace('"a"', '"b"') + "older_than_days = 10\nusers = ['x']",
        "rule b: it never matches: rule a",
    ),
}


@pytest.mark.parametrize("form", REFUSED)
def test_a_malformed_policy_is_refused_with_one_line(form: str) -> None:
    text, reason = REFUSED[form]
    with pytest.raises(UsageError, match=f"^retention policy.*{reason}") as caught:
        read_policy(text.encode())
    assert "\n" not in str(caught.value)


def test_archiving_and_erasing_exclude_each_other_and_text_must_be_utf_8() -> None:
    both = '[[rules]]\nname = "a"\nactions = ["archive", "delete_archive"]\nolder_than_days = 9'
    with pytest.raises(UsageError, match="rule a: archive and delete_archive exclude each other"):
        read_policy(both.encode())
    with pytest.raises(UsageError, match="line 2 is not UTF-8"):
        read_policy(b"# x\n# M\xfcller\n")


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=60) | st.binary(max_size=60))
def test_whatever_stands_in_a_policy_it_is_read_or_refused(content: str | bytes) -> None:
    data = content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass")
    for text in (data, KEEP.encode() + data, KEEP.encode() + b"x = " + data):
        with suppress(UsageError):
            read_policy(text)


def test_a_rule_covers_another_where_each_of_its_conditions_is_no_narrower() -> None:
    def rule(**conditions: object) -> Rule:
        return Rule(name="a", actions=("keep",), **conditions)  # type: ignore[arg-type]

    wide, narrow = rule(users=("1", "2"), shorter_than_seconds=9), rule(users=("1",), shorter_than_seconds=5)
    assert wide.covers(narrow)
    assert not narrow.covers(wide)
    assert rule().covers(wide)
    assert not wide.covers(rule())
    assert rule(longer_than_seconds=5).covers(rule(longer_than_seconds=6, accounts=("1",)))
    assert not rule(longer_than_seconds=5).covers(rule(shorter_than_seconds=9))


ONE = RetentionCandidate(
    datetime(2025, 3, 1, tzinfo=timezone.utc),
    *("company", "549825", "", 3, "call-3", 2000),
    "file:///x/account_id=549825/recording_type=company/date=2025-03-01/3.mp3",
    *(2000, "aa", 1, 1, "call-3", datetime(2025, 3, 1, tzinfo=timezone.utc), 1, 0),
)
KEY = "account_id=549825/recording_type=company/date=2025-03-01/3.mp3"
FACTS = RecordingFacts(ONE, 1, 1, True, False, None, None)
NO_FILE = replace(FACTS, files=0, is_final=False, candidate=replace(ONE, uri=None, attempts=0))


@pytest.mark.parametrize(
    ("facts", "actions", "held", "expected"),
    [
        (FACTS, "keep", None, ((), None, None)),
        (FACTS, "archive", None, ((), None, None)),
        (NO_FILE, "archive", "line 1", (("archive",), None, None)),
        (NO_FILE, "archive delete_at_vbc", None, (("archive",), None, None)),
        (NO_FILE, "delete_at_vbc", None, ((), None, NOT_ARCHIVED)),
        (FACTS, "delete_at_vbc", None, (("delete_at_vbc",), None, None)),
        (FACTS, "delete_at_vbc delete_archive", "line 1", ((), "line 1", None)),
        (FACTS, "delete_archive", None, ((), None, STILL_AT_VBC)),
        (replace(FACTS, gone=True), "delete_archive", None, (("delete_archive",), None, None)),
        (replace(FACTS, gone=True), "delete_at_vbc", None, ((), None, None)),
        (FACTS, "delete_at_vbc delete_archive", None, (("delete_at_vbc", "delete_archive"), None, None)),
        (replace(FACTS, gone=True, files=0), "delete_at_vbc delete_archive", None, ((), None, None)),
    ],
)
def test_what_a_rule_means_for_a_recording(
    facts: RecordingFacts,
    actions: str,
    held: str | None,
    expected: tuple[tuple[str, ...], str | None, str | None],
) -> None:
    decision = decide(facts, Rule(name="a", actions=tuple(actions.split())), held, KEY)
    assert (decision.actions, decision.held, decision.blocked) == expected
    assert decision.rule == "a"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"attempts": 0}, "never compared"),
        ({"listed_bytes": 1999}, "has changed at VBC"),
        ({"owners": 2}, "the file of another recording"),
        ({"version": 2}, "has 2 files"),
        ({"sha256": None}, "no address, size or hash"),
    ],
)
def test_what_is_no_proof_blocks_both_deletions(change: dict[str, object], reason: str) -> None:
    facts = replace(FACTS, candidate=replace(ONE, **change))  # type: ignore[arg-type]
    rule = Rule(name="a", actions=("delete_at_vbc", "delete_archive"))
    decision = decide(facts, rule, None, KEY)
    assert decision.actions == ()
    assert reason in str(decision.blocked)


def test_a_recording_that_no_rule_matches_is_kept() -> None:
    assert decide(FACTS, None, "line 1", KEY).rule is None
    assert decide(FACTS, None, None, KEY).actions == ()


def test_the_ledgers_tell_what_is_done() -> None:
    assert [is_done(action, NO_FILE) for action in ACTIONS[1:]] == [False, False, True]
    assert [is_done(action, replace(FACTS, gone=True)) for action in ACTIONS[1:]] == [True, True, False]


def test_the_digest_tells_what_the_actions_rest_on() -> None:
    archived = replace(FACTS, candidate=replace(ONE, sha256="bb"))
    assert archived.digest(with_file=False) == FACTS.digest(with_file=False)
    assert archived.digest(with_file=True) != FACTS.digest(with_file=True)
    for change in (
        {"call_id": "x"},
        {"listed_bytes": 1},
        {"began": datetime(2025, 3, 2, tzinfo=timezone.utc)},
    ):
        other = replace(FACTS, candidate=replace(ONE, **change))  # type: ignore[arg-type]
        assert other.digest(with_file=False) != FACTS.digest(with_file=False)


def test_the_policies_of_the_page_are_policies() -> None:
    page = (Path(vbc_source.__file__).parents[1] / "docs" / "retention.md").read_text()
    policies = [read_policy(text.encode()) for text in re.findall(r"```toml\n(.*?)```", page, re.DOTALL)]
    assert [policy.keeps for policy in policies] == [False, True, False]
