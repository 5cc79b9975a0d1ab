"""What is known of each recording: the rule that matches it, its file, what was done already."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from vbc_source.audio.ledger import LEDGER
from vbc_source.audio.ledger_queries import write_final, write_ledger
from vbc_source.recordings import RECORDING_KEY, RecordingKey, RecordingType
from vbc_source.retention.candidates import (
    OLDEST_START,
    RetentionCandidate,
    write_files,
    write_owners,
)
from vbc_source.retention.deletions import DELETIONS
from vbc_source.retention.holds import HOLDS, write_open_holds
from vbc_source.retention.policy import LISTS, Rule
from vbc_source.warehouse.queries import LoadedTables, query_pages
from vbc_source.warehouse.recordings import (
    TABLES,
    RecordingSelection,
    has_users,
    write_recordings,
    write_those,
)
from vbc_source.warehouse.tombstones import GROUP_GONE, TOMBSTONES

PAGE_ROWS = 10_000
_ORDER = ("began", *("recording_type", "account_id", "user_id", "recording_id"))
_CANDIDATE = (
    *_ORDER,
    *("call_id", "listed_bytes", "shared_id", "uri", "size_bytes", "sha256", "attempts", "version"),
    *("archived_call_id", "archived_start", "owners"),
)
_STATE = ("files", "rule", "is_final", "gone", "held_at", "held_place")
# a condition on a list inside rows: the child table's suffix, and its column
_CHILDREN = {"extensions": ("extensions", "extension"), "rule_ids": ("rule_ids", "rule_id")}
_COLUMNS = {"directions": "upper(r.direction)", "users": "r.user_id", "accounts": "r.account_id"}
_OF_CHOSEN = "recording_id IN (SELECT recording_id FROM chosen)"
Values = dict[str, str | int | datetime]


@dataclass(frozen=True, slots=True)
class RecordingFacts:
    """A loaded recording.

    Attributes:
        candidate: The recording, with its newest file, stored or erased; without an address if it has none.
        rule: Number of the first rule that matches it, from 1; 0 if none does.
        files: Its files that are stored.
        is_final: Whether its audio is archived as it is loaded now, or was erased, or is gone at VBC.
        gone: Whether VBC no longer has it, as deleted by us or found to be gone.
        held_at: Since when the ledger of holds has it on hold, or None.
        held_place: The place of the entry that holds it there.
    """

    candidate: RetentionCandidate
    rule: int
    files: int
    is_final: bool
    gone: bool
    held_at: datetime | None
    held_place: str | None

    @property
    def key(self) -> RecordingKey:
        """The key of the recording."""
        one = self.candidate
        return one.account_id, one.recording_type, one.user_id, one.recording_id

    def digest(self, *, with_file: bool) -> str:
        """Return a digest of what VBC listed, and of the newest file if the file is to be relied on."""
        one = self.candidate
        # not as text: destinations give an instant in the zone of their session
        values = [*self.key, one.began.timestamp(), one.call_id, one.listed_bytes]
        if with_file:
            start = one.archived_start.timestamp() if one.archived_start else None
            values += [one.uri, one.size_bytes, one.sha256, one.version, one.archived_call_id, start]
        return hashlib.sha256(json.dumps(values).encode()).hexdigest()[:32]


def read_facts(
    loaded: LoadedTables,
    rules: Sequence[Rule],
    made_at: datetime,
    selection: RecordingSelection | None = None,
    ids: Collection[int] | None = None,
) -> Iterator[RecordingFacts]:
    """Yield the facts of all recordings, or of those with some ids, oldest first.

    Args:
        loaded: The tables, with the ledgers of the archive and of verify.
        rules: The rules of the policy.
        made_at: The time by which the age of a recording is measured.
        selection: Only these.
        ids: Only these, at most a few thousand.
    """
    selection = selection or RecordingSelection()
    conditions = [_RuleSql(rule, number) for number, rule in enumerate(rules, 1)]
    values: Values = {"oldest": OLDEST_START, **selection.bounds}
    for condition in conditions:
        values |= condition.make_values(made_at)

    def write(loaded: LoadedTables) -> str:
        recordings = write_recordings(loaded, selection)
        return recordings if ids is None else write_those(recordings, ids)

    def extend(loaded: LoadedTables, page: str) -> str:
        return _write_facts(loaded, conditions, page)

    columns, key = (*_CANDIDATE, *_STATE), len(_ORDER)
    for row in query_pages(loaded, write, columns, key, PAGE_ROWS, extend, **values):
        yield RecordingFacts(
            candidate=RetentionCandidate(**{name: row[name] for name in _CANDIDATE}),
            rule=int(row["rule"]),
            files=int(row["files"]),
            is_final=bool(row["is_final"]),
            gone=bool(row["gone"]),
            held_at=row["held_at"],
            held_place=row["held_place"],
        )


class _RuleSql:
    """The conditions of a rule in SQL; the names of its placeholders end with its number."""

    def __init__(self, rule: Rule, number: int) -> None:
        self._rule, self._number = rule, number

    def make_values(self, made_at: datetime) -> Values:
        """Return the values of the placeholders."""
        rule, values = self._rule, Values()
        if rule.older_than_days:
            values[self._name("until")] = made_at - timedelta(days=rule.older_than_days)
        for name in LISTS:
            for place, value in enumerate(getattr(rule, name) or ()):
                values[f"{self._name(name)}_{place}"] = value
        return values

    def write_condition(self, loaded: LoadedTables) -> str:
        """Write the condition on a recording `r`, and on the tables of `write_joins`."""
        rule, parts = self._rule, ["1 = 1"]
        if rule.older_than_days:  # the start of earlier ones is unknown
            until = f":{self._name('until')}"
            parts.append(f"r.began BETWEEN CAST(:oldest AS TIMESTAMPTZ) AND CAST({until} AS TIMESTAMPTZ)")
        if rule.longer_than_seconds:
            parts.append(f"r.duration > {1000 * rule.longer_than_seconds}")
        if rule.shorter_than_seconds:
            parts.append(f"r.duration < {1000 * rule.shorter_than_seconds}")
        for name in LISTS:
            if not getattr(rule, name):
                continue
            if name in _COLUMNS:
                parts.append(f"{_COLUMNS[name]} IN ({self._write_marks(name)})")
            else:
                has_tables = self._find_children(loaded, name)
                # no table, no list: the rule then matches nothing; without this condition it would match more
                parts.append(f"{self._name(name)}.recording_id IS NOT NULL" if has_tables else "1 = 0")
        return " AND ".join(parts)

    def write_joins(self, loaded: LoadedTables) -> str:
        """Write the joins with the recordings whose lists have one of the values."""
        return "".join(
            f" LEFT JOIN ({self._write_children(loaded, name)}) AS {self._name(name)} "
            f"ON {_write_same('r', self._name(name))}"
            for name in _CHILDREN
            if getattr(self._rule, name) and self._find_children(loaded, name)
        )

    def _write_children(self, loaded: LoadedTables, name: str) -> str:
        _, column = _CHILDREN[name]
        # `chr(39) * 2` is SQL's empty text: before Python 3.12 no f-string could hold these quotes here
        return " UNION ALL ".join(
            f"SELECT DISTINCT account_id, '{kind}' AS recording_type, "
            f"{'user_id' if has_users(kind) else chr(39) * 2} AS user_id, recording_id "
            f"FROM {table} WHERE {_OF_CHOSEN} AND {column} IN ({self._write_marks(name)})"
            for kind, table in self._find_children(loaded, name).items()
        )

    def _find_children(self, loaded: LoadedTables, name: str) -> dict[RecordingType, str]:
        suffix, column = _CHILDREN[name]
        tables = {kind: f"{table}__{suffix}" for kind, table in TABLES.items()}
        return {kind: table for kind, table in tables.items() if column in loaded.columns(table)}

    def _write_marks(self, name: str) -> str:
        values = getattr(self._rule, name)
        return ", ".join(f":{self._name(name)}_{place}" for place in range(len(values)))

    def _name(self, name: str) -> str:
        return f"{name}_{self._number}"


def _write_facts(loaded: LoadedTables, rules: Sequence[_RuleSql], recordings: str) -> str:
    """Write the query of the facts of some recordings."""
    # CASE takes the first that is true, as the first rule that matches decides
    cases = " ".join(
        f"WHEN {rule.write_condition(loaded)} THEN {number}" for number, rule in enumerate(rules, 1)
    )
    key = ", ".join(f"r.{name}" for name in _ORDER)
    gone = _write_gone(loaded)
    has_holds = loaded.has(HOLDS)
    holds = (
        "h.held_at, h.place" if has_holds else "CAST(NULL AS TIMESTAMPTZ) AS held_at, CAST(NULL AS VARCHAR)"
    )
    # named once: the time that a query takes to be translated depends on its length
    parts = {"chosen": recordings}
    if loaded.has(LEDGER):
        ledger = write_ledger(loaded)
        parts |= {
            "ledger": f"SELECT * FROM ({ledger}) AS b WHERE {_OF_CHOSEN}",
            # of all recordings: one that is not chosen may have the same file
            "named": f"SELECT * FROM ({ledger}) AS b WHERE status = 'stored' "
            "AND uri IN (SELECT uri FROM ledger)",
            "stored": "SELECT * FROM ledger WHERE status = 'stored'",
            "known": "SELECT * FROM ledger WHERE status IN ('stored', 'erased')",
        }
    return f"""
        WITH {", ".join(f"{name} AS ({query})" for name, query in parts.items())}
        SELECT {key}, r.call_id, r.shared_id, r.size_bytes AS listed_bytes,
            {_write_file_columns(loaded)}, CASE {cases} ELSE 0 END AS rule,
            {"CASE WHEN g.recording_id IS NULL THEN 0 ELSE 1 END" if gone else "0"} AS gone,
            {holds} AS held_place
        FROM chosen AS r {_write_file_joins() if loaded.has(LEDGER) else ""}
        {f"LEFT JOIN ({gone}) AS g ON {_write_same('r', 'g')}" if gone else ""}
        {f"LEFT JOIN ({write_open_holds()}) AS h ON {_write_same('r', 'h')}" if has_holds else ""}
        {"".join(rule.write_joins(loaded) for rule in rules)}"""


def _write_file_columns(loaded: LoadedTables) -> str:
    if not loaded.has(LEDGER):
        texts = ("uri", "sha256", "archived_call_id")
        return (
            ", ".join(f"CAST(NULL AS VARCHAR) AS {name}" for name in texts)
            + ", CAST(NULL AS BIGINT) AS size_bytes, CAST(NULL AS TIMESTAMPTZ) AS archived_start, "
            "0 AS attempts, 1 AS version, 0 AS owners, 0 AS files, 0 AS is_final"
        )
    return """a.uri, a.sha256, a.archived_call_id, a.size_bytes, a.archived_start,
            coalesce(a.attempts, 0) AS attempts, coalesce(a.version, 1) AS version,
            coalesce(o.owners, 0) AS owners, coalesce(f.files, 0) AS files,
            CASE WHEN s.recording_id IS NULL THEN 0 ELSE 1 END AS is_final"""


def _write_file_joins() -> str:
    key = ", ".join(RECORDING_KEY)
    files = f"SELECT {key}, count(DISTINCT version) AS files FROM stored GROUP BY {key}"
    final = write_final("SELECT * FROM ledger", "SELECT * FROM chosen")
    return f"""
        LEFT JOIN ({write_files("SELECT * FROM known")}) AS a ON {_write_same("r", "a")}
        LEFT JOIN ({write_owners("SELECT * FROM named")}) AS o ON o.uri = a.uri
        LEFT JOIN ({files}) AS f ON {_write_same("r", "f")}
        LEFT JOIN ({final}) AS s ON {_write_same("r", "s")}"""


def _write_gone(loaded: LoadedTables) -> str:
    """Write the query of the keys of recordings that VBC no longer has; nothing where no table tells."""
    key = ", ".join(RECORDING_KEY)
    sources = {
        DELETIONS: "AND status IN ('deleted', 'gone')",
        LEDGER: "AND status = 'missing'",
        TOMBSTONES: GROUP_GONE,
    }
    parts = [
        f"SELECT {key} FROM {table} WHERE {_OF_CHOSEN} {condition}"
        for table, condition in sources.items()
        if loaded.has(table)
    ]
    return f"SELECT DISTINCT {key} FROM ({' UNION ALL '.join(parts)}) AS absent" if parts else ""


def _write_same(first: str, second: str) -> str:
    return " AND ".join(f"{first}.{name} = {second}.{name}" for name in RECORDING_KEY)
