"""Write the queries of calls, united from their legs and joined with their recordings.

A call and its recordings share an id: `call_logs.id` is `call_id` of the recordings. The vendor does not say
so; `write_totals` measures how often it holds.

A call may have several legs and several recordings. Its recording is compared with the span that the legs
leave open: at least as long as the longest leg that was recorded, at most as long as all legs together, or as
from the start of the first to the end of the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from vbc_source.audio.ledger import LEDGER
from vbc_source.config import CALL_LOGS_TABLE
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.reconciliation.spans import JudgedSpans
from vbc_source.schema.columns import VARIANT
from vbc_source.warehouse.queries import LoadedTables, write_instant
from vbc_source.warehouse.recordings import RecordingSelection, write_recordings

# what starts just outside of a span may belong to a call or recording in it
MARGIN = timedelta(days=1)
# at the start of what is loaded, the log of a recording's call may be just before
EDGE = timedelta(hours=6)
_RULES = "company_recordings__rule_ids"
_ANSWERED = "lower(l.result) IN ('answered', 'connected') OR (l.result IS NULL AND l.length > 0)"
_LEG_COLUMNS = ("account_id", "id", '"start"', "ended", "length", "direction")
_AUDIO_KEY = "account_id, recording_type, user_id, recording_id"


@dataclass(frozen=True, slots=True)
class CallQueries:
    """The queries of one reconciliation.

    Attributes:
        since: Oldest start.
        until: Newest start.
        judged: The spans in which calls may be judged, by account.
        tolerance: How many seconds lengths may differ.
        timezone: Where days begin.
    """

    since: datetime
    until: datetime
    judged: JudgedSpans
    tolerance: float
    timezone: str

    @property
    def values(self) -> dict[str, str | datetime]:
        """The values of the placeholders."""
        bounds = RecordingSelection(since=self.since - MARGIN, until=self.until + MARGIN).bounds
        # in the order of `judged`, as `_write_inside` counts them
        accounts = {f"account_{number}": account for number, account in enumerate(self.judged)}
        return {**bounds, **accounts, "first": self.since, "last": self.until}

    def write_totals(self, loaded: LoadedTables) -> str:
        """Write the query of counts by account, day, direction, extension, user and class.

        Then follows how many of them are recorded calls whose log must be there, and is, and how many have
        a log.
        """
        group = "account_id, day, direction, extension, user_name, class"
        return f"""
            SELECT {group}, count(*) AS calls, sum(comparable) AS comparable,
                sum(comparable * logged) AS matched, sum(logged) AS logged
            FROM (
                SELECT *, CAST(CAST(began AT TIME ZONE '{self.timezone}' AS DATE) AS VARCHAR) AS day
                FROM ({self.write_judged(loaded)}) AS j
            ) AS d GROUP BY {group}"""

    def write_gaps(self, loaded: LoadedTables) -> str:
        """Write the query of what does not fit, oldest first."""
        return f"""
            SELECT account_id, call_id, class, began, direction, extension
            FROM ({self.write_judged(loaded)}) AS j
            WHERE class NOT IN ('recorded', 'not_answered', 'waiting') ORDER BY began, account_id, call_id"""

    def write_rules(self, loaded: LoadedTables) -> str:
        """Write the query of counts by account, recording rule and class, of calls with recordings."""
        return f"""
            SELECT j.account_id, u.rule_id, j.class, count(*) FROM ({self.write_judged(loaded)}) AS j
            JOIN (
                SELECT DISTINCT c.account_id, c.call_id, r.rule_id FROM company_recordings AS c
                JOIN {_RULES} AS r ON r.account_id = c.account_id AND r.recording_id = c.id
            ) AS u ON u.account_id = j.account_id AND u.call_id = j.call_id
            GROUP BY j.account_id, u.rule_id, j.class"""

    def write_judged(self, loaded: LoadedTables) -> str:
        """Write the query of the calls of the span, and recordings without one, each with its class."""
        waits = f"NOT ({self._write_inside('began', 'ended')})"
        edge = f"NOT ({self._write_inside('began', 'ended', EDGE)})"
        # call logs count seconds, recordings milliseconds
        milliseconds = round(self.tolerance * 1000)
        # a length that is null makes the comparison null, which the classes below count as no difference
        differs = f"""total_ms < shortest * 1000 - {milliseconds}
            OR longest_ms > longest * 1000 + {milliseconds} OR audio_differs = 1"""
        # the first class that applies counts: what fits needs no proof, what seems to be absent waits for one
        return f"""
            SELECT account_id, call_id, began, direction, extension, user_name, logged,
            CASE WHEN has_recording = 0 OR {edge} THEN 0 ELSE 1 END AS comparable, CASE
                WHEN logged = 0 THEN CASE WHEN {edge} THEN 'waiting' ELSE 'without_call' END
                WHEN has_recording = 1 AND flagged = 1 AND NOT coalesce({differs}, false) THEN 'recorded'
                WHEN has_recording = 0 AND flagged = 0 AND answered = 0 THEN 'not_answered'
                WHEN {waits} THEN 'waiting'
                WHEN has_recording = 1 AND flagged = 1 THEN 'length_differs'
                WHEN has_recording = 1 THEN 'unexpected'
                WHEN flagged = 1 THEN 'missing'
                ELSE 'not_flagged'
            END AS class
            FROM ({self._write_joined(loaded)}) AS u
            WHERE began BETWEEN CAST(:first AS TIMESTAMPTZ) AND CAST(:last AS TIMESTAMPTZ)"""

    def _write_inside(self, began: str, ended: str, edge: timedelta = timedelta()) -> str:
        """Write the condition that a call lies in a span that may be judged."""
        conditions = [
            f"(account_id = :account_{number} AND {began} >= {write_instant(span.start + edge)} "
            f"AND {ended} <= {write_instant(span.end)})"
            for number, spans in enumerate(self.judged.values())
            for span in spans
        ]
        return " OR ".join(conditions) or "1 = 0"

    def _write_joined(self, loaded: LoadedTables) -> str:
        # Postgres has FULL JOIN by equality alone: spans and tolerances are left to the query around it
        return f"""
            SELECT coalesce(c.account_id, r.account_id) AS account_id,
                coalesce(c.call_id, r.call_id) AS call_id,
                coalesce(c.began, r.began) AS began, coalesce(c.ended, r.ended) AS ended,
                coalesce(c.direction, r.direction) AS direction, c.extension, c.user_name,
                CASE WHEN c.call_id IS NULL THEN 0 ELSE 1 END AS logged,
                CASE WHEN r.call_id IS NULL THEN 0 ELSE 1 END AS has_recording,
                c.flagged, c.answered, c.shortest, c.longest, r.total_ms, r.longest_ms, r.audio_differs
            FROM ({_write_logged(loaded)}) AS c
            FULL JOIN ({self._write_recorded(loaded)}) AS r
                ON r.account_id = c.account_id AND r.call_id = c.call_id"""

    def _write_recorded(self, loaded: LoadedTables) -> str:
        """Write the query of recorded calls; where rows are appended, a recording may be there twice."""
        # nothing is archived, or was before lengths were measured: there is no such column
        audio, join = "CAST(NULL AS BIGINT)", ""
        if "audio_duration" in loaded.columns(LEDGER):
            audio = "a.audio_duration"
            same = " AND ".join(f"a.{name.strip()} = r.{name.strip()}" for name in _AUDIO_KEY.split(","))
            join = f"""LEFT JOIN (
                SELECT {_AUDIO_KEY}, audio_duration, row_number() OVER (
                    PARTITION BY {_AUDIO_KEY} ORDER BY version DESC, fetched_at DESC,
                        CASE WHEN audio_duration IS NULL THEN 1 ELSE 0 END
                ) AS place FROM {LEDGER} WHERE status = 'stored'
            ) AS a ON {same} AND a.place = 1"""
        differs = f"abs(audio_duration - duration) > {round(self.tolerance * 1000)}"
        recording = f"""
            SELECT r.account_id, r.recording_type, r.user_id, r.recording_id, max(r.call_id) AS call_id,
                max(r.direction) AS direction, max(r.began) AS began,
                max(coalesce(r.ended, r.began)) AS ended, max(r.duration) AS duration,
                max({audio}) AS audio_duration
            FROM ({write_recordings(loaded, RecordingSelection())}) AS r {join}
            GROUP BY r.account_id, r.recording_type, r.user_id, r.recording_id"""
        # a recording without a call's id is a call of its own: grouped by null, all of them would be one call
        call = "coalesce(nullif(call_id, ''), concat('recording ', CAST(recording_id AS VARCHAR)))"
        return f"""
            SELECT account_id, {call} AS call_id, min(began) AS began, max(ended) AS ended,
                CASE lower(max(direction)) WHEN 'inbound' THEN 'Inbound' WHEN 'outbound' THEN 'Outbound'
                    ELSE max(direction) END AS direction,
                sum(duration) AS total_ms, max(duration) AS longest_ms,
                max(CASE WHEN {differs} THEN 1 ELSE 0 END) AS audio_differs
            FROM ({recording}) AS one GROUP BY account_id, {call}"""


def _write_logged(loaded: LoadedTables) -> str:
    """Write the query of the calls in the logs: their legs united."""
    columns = ", ".join(f"l.{name}" for name in _LEG_COLUMNS)
    flag = "l.recorded"
    text = "recorded" + VARIANT  # of a gateway that sends "true" for true
    if text in loaded.columns(CALL_LOGS_TABLE):
        flag = f"coalesce(l.recorded, lower(l.{text}) = 'true')"
    newest, filtered = "", ""
    if loaded.kind == FILESYSTEM:  # a row stands beside its earlier versions
        newest = ", row_number() OVER (PARTITION BY account_id, id, leg ORDER BY _dlt_load_id DESC) AS place"
        filtered = "WHERE l.place = 1"
    legs = f"""
        SELECT {columns}, {flag} AS recorded, CASE WHEN {_ANSWERED} THEN 1 ELSE 0 END AS answered,
            {_write_own_side("extension")} AS extension, {_write_own_side("user")} AS user_name
        FROM (
            SELECT *, coalesce("end", "start") AS ended{newest} FROM {CALL_LOGS_TABLE}
            WHERE "start" BETWEEN CAST(:since AS TIMESTAMPTZ) AND CAST(:until AS TIMESTAMPTZ)
        ) AS l {filtered}"""

    def prefer(column: str) -> str:
        """Take a column from a leg that was recorded, else from one that was answered."""
        return f"""coalesce(min(CASE WHEN recorded THEN {column} END),
            min(CASE WHEN answered = 1 THEN {column} END), min({column}))"""

    return f"""
        SELECT account_id, id AS call_id, min("start") AS began, max(ended) AS ended,
            max(CASE WHEN recorded THEN 1 ELSE 0 END) AS flagged, max(answered) AS answered,
            coalesce(max(CASE WHEN recorded THEN length END), max(length)) AS shortest,
            greatest(sum(length), max(date_diff('second', "start", ended)),
                date_diff('second', min("start"), max(ended))) AS longest,
            {prefer("direction")} AS direction, {prefer("extension")} AS extension,
            {prefer("user_name")} AS user_name
        FROM ({legs}) AS legs GROUP BY account_id, id"""


def _write_own_side(name: str) -> str:
    """Write a column of the party on our side."""
    return f"CASE WHEN lower(l.direction) = 'outbound' THEN l.source_{name} ELSE l.destination_{name} END"
