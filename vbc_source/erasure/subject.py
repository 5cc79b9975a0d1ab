"""Whose data is erased: a telephone number in all its spellings, a hash, or recordings by their ids. Pure.

The number itself is in memory alone. What is kept names it by a keyed hash.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from vbc_source.errors import UsageError
from vbc_source.pii import HASH, PiiPolicy

SHORTEST, LONGEST = 7, 15  # digits: shorter ones are extensions, longer ones no telephone numbers
NORTH_AMERICA = "1"
_COUNTRY = re.compile("1|7|2[07]|3[0-469]|4[013-9]|5[1-8]|6[0-6]|8[1246]|9[0-58]|[0-9]{3}")  # by ITU-T E.164
_TRUNK = "0"  # dialed within a country, instead of its code
_SHORTEST_NATIONAL = 8  # digits behind the trunk prefix: with fewer ones, it may be any number
_INTERNATIONAL = ("00", "011")  # as dialed, instead of a plus
_SHORTEST_DIALED = 10  # digits behind such a prefix: with fewer ones, it may begin an area code
# Between two digits; no commas or quotes, which separate numbers. Numbers that were copied from documents
# have spaces and hyphens that are not ASCII.
_GAP_CHARACTERS = "[ ()./_\u00a0\u2009\u202f\u2010\u2011\u2012\u2013\u2212-]"
_GAP = f"{_GAP_CHARACTERS}{{0,3}}"
_GAP_BYTES = f"{_GAP_CHARACTERS}{{0,9}}"  # three bytes each
_NEVER = "[^ -~]vbc"  # matches no text that is stored
_REDACTED = "[number]"
_NAME = re.compile("(?:(?:(?P<account>[^/]+)/)?(?:company|user/(?P<user>[^/]+))/)?(?P<id>[0-9]{1,18})")


@dataclass(frozen=True, slots=True)
class RecordingName:
    """A recording that was named by its id: `193228`, `user/77/193228`, or with its account in front."""

    recording_id: int
    recording_type: str = "company"
    user_id: str = ""
    account_id: str | None = None


@dataclass(frozen=True)
class Subject:
    """What identifies the data of a person.

    Attributes:
        digits: The number with its country code, without a plus; empty if only a hash or ids are known.
        hashes: HMACs that stand for it in tables that were loaded with `pii = "hash"`.
        names: Recordings that were named by their ids.
    """

    # no traceback or log may show them
    digits: str = field(default="", repr=False)
    hashes: frozenset[str] = field(default=frozenset(), repr=False)
    names: tuple[RecordingName, ...] = ()

    @property
    def kind(self) -> str:
        """`number`, `caller_hash` or `recordings`."""
        return "number" if self.digits else "caller_hash" if self.hashes else "recordings"

    @property
    def spellings(self) -> tuple[str, ...]:
        """The number as the API and people may write it."""
        return tuple(dict.fromkeys(_spell(self.digits))) if self.digits else ()

    @property
    def api_spellings(self) -> tuple[str, ...]:
        """The number as VBC's own filters take it."""
        if not self.digits:
            return ()
        international = (f"{plus}{digits}" for digits in _spell_trunk(self.digits) for plus in ("", "+"))
        return *international, *_spell_national(self.digits)

    @cached_property
    def pattern(self) -> str:
        """A regular expression, of DuckDB, Postgres and Python alike: a text that holds the number."""
        return self._write_pattern(_GAP)

    @cached_property
    def compact(self) -> str:
        """The same without separators between digits, for texts that are full of other numbers."""
        return self._write_pattern("")

    def _write_pattern(self, gap: str) -> str:
        # a whole hash: its digits may be part of a longer one
        parts = [f"(^|[^0-9a-f])({'|'.join(sorted(self.hashes))})([^0-9a-f]|$)"] if self.hashes else []
        if self.digits:
            country, rest = _split(self.digits)
            # +44 (0)20 is written, too
            trunk = "" if _is_north_american(self.digits) else f"({_TRUNK}{gap})?"
            heads = [f"([+]|00|011)?{gap}{gap.join(country)}{gap}{trunk}"]
            heads += [national.removesuffix(rest) for national in _spell_national(self.digits)]
            # no digit before or behind: it would be another number
            parts.append(f"(^|[^0-9+])({'|'.join(heads)}){gap}{gap.join(rest)}([^0-9]|$)")
        return "|".join(f"({part})" for part in parts) or _NEVER

    @cached_property
    def _texts(self) -> re.Pattern[str]:
        return re.compile(self.pattern)

    @cached_property
    def _bytes(self) -> re.Pattern[bytes]:
        return re.compile(self._write_pattern(_GAP_BYTES).encode())

    def is_in(self, value: Any) -> bool:
        """Return whether a value of the API, at any depth, holds the number or its hash."""
        if isinstance(value, Mapping):
            # in names of fields, too
            return any(self.is_in(part) for pair in value.items() for part in pair)
        if isinstance(value, (list, tuple)):
            return any(map(self.is_in, value))
        return self._texts.search(str(value)) is not None

    def is_in_bytes(self, data: bytes) -> bool:
        """Return whether the content of a file holds the number or its hash."""
        return self._bytes.search(data) is not None

    def redact(self, text: str) -> str:
        """Return a text without the number and its hashes, for messages of others."""
        return self._texts.sub(f" {_REDACTED} ", text) if self.is_in(text) else text

    def identify(self, key: bytes) -> str:
        """Return the keyed hash that stands for the subject in what is kept."""
        text = "\n".join(["erasure", self.kind, self.digits, *self._name()])
        return hmac.digest(key, text.encode(), "sha256").hex()

    def _name(self) -> list[str]:
        if self.digits:  # its hashes depend on the spelling, and on the key of `pii`
            return []
        return [*sorted(self.hashes), *sorted(map(repr, self.names))]


def read_subject(
    number: str | None, caller_hash: str | None, names: Iterable[str], privacy: PiiPolicy
) -> Subject:
    """Make a subject of what a user gave.

    Args:
        number: A telephone number, in any spelling.
        caller_hash: An HMAC out of a table, 64 hexadecimal digits.
        names: Ids of recordings.
        privacy: With a key, the number is also looked for as its hash.

    Raises:
        UsageError: Not exactly one of them is given, or it is not understood; the message repeats no number.
    """
    named = tuple(map(_read_name, names))
    if sum((number is not None, caller_hash is not None, bool(named))) != 1:
        raise UsageError("give a NUMBER (or - to read it from stdin), or --caller-hash, or --recording")
    if named:
        return Subject(names=named)
    if caller_hash is not None:
        digest = caller_hash.strip().lower()
        if not HASH.fullmatch(digest):
            raise UsageError("--caller-hash takes the 64 hexadecimal digits out of a table")
        return Subject(hashes=frozenset({digest}))
    digits = _normalize(number or "")
    hashing = PiiPolicy("hash", privacy.key)
    hashes = {str(hashing.hide(text)) for text in _spell(digits)} if privacy.key else set()
    return Subject(digits, frozenset(hashes))


def _normalize(number: str) -> str:
    """Return a number with its country code; one of ten digits without a plus is a North American one."""
    text = number.strip()
    digits = re.sub("[^0-9]", "", text)
    if re.search("[A-Za-z]", text) or text.count("+") > (text[:1] == "+"):
        raise UsageError("NUMBER is not a telephone number: digits, with + or separators")
    is_international = text.startswith("+")
    for prefix in _INTERNATIONAL:
        dialed = digits.removeprefix(prefix)
        if not is_international and dialed != digits and len(dialed) >= _SHORTEST_DIALED:
            digits, is_international = dialed, True
    if digits.startswith(_TRUNK):
        raise UsageError("NUMBER has no country code: give it with one, such as +44 in place of the first 0")
    if not is_international and len(digits) == 10:
        digits = NORTH_AMERICA + digits
    if not SHORTEST <= len(digits) <= LONGEST:
        raise UsageError(
            f"NUMBER has {len(digits)} digits; a telephone number has {SHORTEST} to {LONGEST}. An extension "
            "is not a caller: use --recording for single recordings"
        )
    country, rest = _split(digits)
    # as in +44 (0)20: both spellings are one person's, and searched, wherever the zero belongs
    if not _is_north_american(digits) and len(rest) > _SHORTEST_NATIONAL:
        rest = rest.removeprefix(_TRUNK)
    return country + rest


def _is_north_american(digits: str) -> bool:
    return digits.startswith(NORTH_AMERICA) and len(digits) == 11


def _split(digits: str) -> tuple[str, str]:
    """Split a number into its country code and the rest."""
    country = _COUNTRY.match(digits)
    length = len(country[0]) if country else 0
    return digits[:length], digits[length:]


def _spell_trunk(digits: str) -> tuple[str, ...]:
    """Return a number with its country code, as it is and with a zero behind the code, as in +44 (0)20."""
    country, rest = _split(digits)
    if _is_north_american(digits) or rest.startswith(_TRUNK):
        return (digits,)
    return digits, country + _TRUNK + rest


def _spell_national(digits: str) -> list[str]:
    """Return how a number is written within its country, where that cannot be a North American number."""
    rest = _split(digits)[1]
    if _is_north_american(digits):
        return [rest]
    # in some countries, such as Italy, the zero belongs to the number
    return [_TRUNK + rest.removeprefix(_TRUNK)] if len(rest) >= _SHORTEST_NATIONAL else []


def _spell(digits: str) -> Iterable[str]:
    yield from (prefix + text for text in _spell_trunk(digits) for prefix in ("", "+", *_INTERNATIONAL))
    yield from _spell_national(digits)
    if not _is_north_american(digits):
        return
    area, office, line = digits[1:4], digits[4:7], digits[7:]
    for head in ("", "1", "+1"):
        for gap in (" ", "-", "."):
            yield gap.join(filter(None, (head, area, office, line)))
        yield f"{head} ({area}) {office}-{line}".strip()
    yield f"({area}){office}-{line}"


def _read_name(text: str) -> RecordingName:
    found = _NAME.fullmatch(text.strip())
    if found is None:
        raise UsageError(
            "--recording takes the id of a company recording, user/USER/ID, or a recording_key of the models"
        )
    account, user, id_ = found["account"], found["user"] or "", int(found["id"])
    return RecordingName(id_, "user" if user else "company", user, account)
