"""The retention policy: `retention.toml` becomes rules, or is refused with one line. Pure.

Of the rules, the first that matches a recording decides; a recording that none matches is kept.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

import msgspec
import tomlkit
from tomlkit.exceptions import TOMLKitError

from vbc_source.errors import UsageError

Action = Literal["keep", "archive", "delete_at_vbc", "delete_archive"]
ACTIONS: tuple[Action, ...] = get_args(Action)
DELETING_ACTIONS: tuple[Action, ...] = ("delete_at_vbc", "delete_archive")
DIRECTIONS = ("INBOUND", "OUTBOUND", "INTRA_PBX", "UNKNOWN")
LISTS = ("directions", "extensions", "users", "rule_ids", "accounts")
PLAN_DAYS, MOST_PLAN_DAYS = 7, 31
_BOM = "\ufeff"
# a name goes into plans and ledgers: it must not be a telephone number
_NAME = re.compile(r"(?!.*[0-9]{7})[A-Za-z0-9][A-Za-z0-9_-]{0,59}")

Days = Annotated[int, msgspec.Meta(ge=1, le=20_000)]  # the API has no recording of before 1970
Seconds = Annotated[int, msgspec.Meta(ge=1, le=10**9)]


class PolicyRefused(UsageError):
    """Raised when a policy is malformed, or cannot mean what it says; the message names the rule."""

    def __init__(self, rule: str, reason: str) -> None:
        where = f", rule {rule}" if rule else ""
        super().__init__(f"retention policy{where}: {reason}")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What happens to the recordings that meet all conditions; None is no condition.

    Attributes:
        name: The reason that plans and ledgers give.
        actions: What must be done; `keep` forbids an erasure.
        older_than_days: Minimum age, by the start of the call.
        longer_than_seconds: Of calls longer than this.
        shorter_than_seconds: Of calls shorter than this.
        directions: Directions of the call, of `DIRECTIONS`.
        extensions: Extensions that took part in the call.
        users: Owners of user recordings.
        rule_ids: Ids of the recording rules at VBC.
        accounts: Account ids.
    """

    name: str
    actions: tuple[str, ...]
    older_than_days: Days | None = None
    longer_than_seconds: Seconds | None = None
    shorter_than_seconds: Seconds | None = None
    directions: tuple[str, ...] | None = None
    extensions: tuple[str, ...] | None = None
    users: tuple[str, ...] | None = None
    rule_ids: tuple[int, ...] | None = None
    accounts: tuple[str, ...] | None = None

    def covers(self, other: Rule) -> bool:
        """Return whether this rule matches every recording that the other one matches."""
        return (
            _is_below(self.older_than_days, other.older_than_days)
            and _is_below(self.longer_than_seconds, other.longer_than_seconds)
            and (
                self.shorter_than_seconds is None
                or (other.shorter_than_seconds or float("inf")) <= self.shorter_than_seconds
            )
            and all(_contains(getattr(self, name), getattr(other, name)) for name in LISTS)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy.

    Attributes:
        rules: The rules, in their order; the first that matches decides.
        hold: The file with the hold list as the policy names it; None if there is none.
        plan_valid_days: How long a plan may be applied.
    """

    rules: tuple[Rule, ...]
    hold: str | None = None
    plan_valid_days: int = PLAN_DAYS

    @property
    def keeps(self) -> bool:
        """Whether a rule forbids to erase recordings."""
        return any("keep" in rule.actions for rule in self.rules)


class _MinimumDays(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    delete_at_vbc: Days = 1
    delete_archive: Days = 1


class _Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    # as they are written: each is converted by itself, so that an error names it
    rules: tuple[dict[str, Any], ...] = ()
    hold: str | None = None
    plan_valid_days: Annotated[int, msgspec.Meta(ge=1, le=MOST_PLAN_DAYS)] = PLAN_DAYS
    minimum_days: _MinimumDays = _MinimumDays()


def read_policy(content: bytes) -> Policy:
    """Read a policy.

    Raises:
        PolicyRefused: It is malformed, or a rule can never match; the message names the rule.
    """
    document: _Document = _convert(_parse(content), _Document, "")
    if not document.rules:
        raise PolicyRefused("", "it has no rules: add a table [[rules]]")
    if document.hold is not None and not document.hold.strip():
        raise PolicyRefused("", "hold is empty: name the file, or leave it out")
    rules: list[Rule] = []
    for number, table in enumerate(document.rules, 1):
        # one by one, so that an error names its rule
        rule = _read_rule(table, number, document.minimum_days)
        _compare(rule, rules)
        rules.append(rule)
    return Policy(tuple(rules), document.hold, document.plan_valid_days)


def _parse(content: bytes) -> Any:
    try:
        text = content.decode()
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise PolicyRefused("", f"line {line} is not UTF-8 text; save the file as UTF-8") from None
    if text.startswith(_BOM):
        raise PolicyRefused("", "it begins with a byte order mark; save the file as UTF-8 without one")
    try:
        return tomlkit.parse(text).unwrap()
    except (TOMLKitError, ValueError, RecursionError) as error:
        reason = next(iter(str(error).splitlines()), "") or type(error).__name__
        raise PolicyRefused("", f"it is not TOML: {reason}") from None


def _read_rule(table: dict[str, Any], number: int, minimum: _MinimumDays) -> Rule:
    # first of all: each later error gives the name of the rule
    name = table.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise PolicyRefused(
            f"number {number}",
            "name must be up to 60 letters, digits, hyphens and underscores, without 7 digits in a row",
        )
    rule: Rule = _convert(table, Rule, name)
    _check_actions(rule, minimum)
    _check_conditions(rule)
    # as the query compares directions in upper case
    return msgspec.structs.replace(
        rule, directions=tuple(map(str.upper, rule.directions)) if rule.directions else None
    )


def _convert(value: Any, kind: Any, rule: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        reason = reason.replace("Object contains unknown field", "unknown key")
        reason = reason.replace("Object missing required field", "missing key").replace("`", "")
        key = path.strip("`.")
        known = f"; known keys: {', '.join(kind.__struct_fields__)}" if "unknown key" in reason else ""
        raise PolicyRefused(rule, f"{key}: {reason}" if key else f"{reason}{known}") from None


def _check_actions(rule: Rule, minimum: _MinimumDays) -> None:
    actions = rule.actions
    if not actions or (unknown := [action for action in actions if action not in ACTIONS]):
        found = f"not {unknown[0]!r}" if actions else "at least one"
        raise PolicyRefused(rule.name, f"actions must be {', '.join(ACTIONS)}, {found}")
    if len(set(actions)) < len(actions):
        raise PolicyRefused(rule.name, "actions lists one twice")
    if "keep" in actions and not set(actions).isdisjoint(DELETING_ACTIONS):
        raise PolicyRefused(rule.name, "keep cannot be combined with a deletion")
    if {"archive", "delete_archive"} <= set(actions):
        raise PolicyRefused(rule.name, "archive and delete_archive exclude each other")
    for action in DELETING_ACTIONS:
        if action not in actions:
            continue
        least = getattr(minimum, action)
        if rule.older_than_days is None:
            raise PolicyRefused(rule.name, f"{action} needs older_than_days")
        if rule.older_than_days < least:
            raise PolicyRefused(
                rule.name,
                f"older_than_days is {rule.older_than_days}, but minimum_days.{action} is {least}",
            )


def _check_conditions(rule: Rule) -> None:
    for name in LISTS:
        values = getattr(rule, name)
        if values is not None and (not values or "" in values):
            raise PolicyRefused(rule.name, f"{name} is empty or has an empty text: the rule never matches")
    unknown = [name for name in rule.directions or () if name.upper() not in DIRECTIONS]
    if unknown:
        raise PolicyRefused(rule.name, f"directions must be {', '.join(DIRECTIONS)}, not {unknown[0]!r}")
    if rule.shorter_than_seconds and rule.shorter_than_seconds <= (rule.longer_than_seconds or 0):
        raise PolicyRefused(
            rule.name, "no call is longer than longer_than_seconds and shorter than shorter_than_seconds"
        )


def _compare(rule: Rule, earlier: Sequence[Rule]) -> None:
    """Refuse a rule that has the name of an earlier one, or that an earlier one leaves nothing."""
    for other in earlier:
        if other.name == rule.name:
            raise PolicyRefused(rule.name, "two rules have this name")
        if other.covers(rule):
            raise PolicyRefused(
                rule.name,
                f"it never matches: rule {other.name} comes before it and matches everything that it would",
            )


def _is_below(limit: int | None, other: int | None) -> bool:
    return limit is None or (other is not None and other >= limit)


def _contains(values: Iterable[Any] | None, others: Iterable[Any] | None) -> bool:
    return values is None or (others is not None and set(others) <= set(values))
