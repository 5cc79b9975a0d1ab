"""Queries of the ledger: which recordings are archived as they are loaded now. Pure.

A recording may change at VBC after it was archived. A row of the ledger then no longer fits it: the recording
is archived again, as its next version, and both files are kept.
"""

from __future__ import annotations

from vbc_source.audio.ledger import COLUMNS, LEDGER, VERSION_KEY
from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.recordings import RECORDING_KEY
from vbc_source.warehouse.queries import LoadedTables

SAME_RECORDING = " AND ".join(f"a.{name} = r.{name}" for name in RECORDING_KEY)
# whether a row `a` is of the recording `r` as it is loaded now; rows of older versions lack call and start
FITS = """((a.size_bytes IS NULL OR r.size_bytes IS NULL OR a.size_bytes = r.size_bytes)
    AND (a.call_start IS NULL
        OR (a.call_start = r.began AND coalesce(a.call_id, '') = coalesce(r.call_id, ''))))"""
FINAL = "('stored', 'missing', 'erased')"  # states of files that are not to be fetched
# with `version`, to tables that lacked them
_ADDED = {"call_id": "VARCHAR", "call_start": "TIMESTAMPTZ", "audio_duration": "BIGINT"}


def write_ledger(loaded: LoadedTables) -> str:
    """Write the query of the ledger's rows, whichever version of this package has made the table."""
    names = [name for name in COLUMNS if name not in (*_ADDED, "version")]
    added = [
        name if name in loaded.columns(LEDGER) else f"CAST(NULL AS {kind}) AS {name}"
        for name, kind in _ADDED.items()
    ]
    version = "coalesce(version, 1)" if "version" in loaded.columns(LEDGER) else "1"
    ledger = f"SELECT {', '.join([*names, *added])}, {version} AS version FROM {LEDGER}"
    if loaded.kind != FILESYSTEM:
        return ledger
    # append-only: the row of a file that was stored stays there when the file is erased
    same = " AND ".join(f"e.{name} = l.{name}" for name in VERSION_KEY)
    erased = f"SELECT 1 FROM ({ledger}) AS e WHERE e.status = 'erased' AND {same}"
    return f"SELECT * FROM ({ledger}) AS l WHERE status = 'erased' OR NOT EXISTS ({erased})"


def write_states(loaded: LoadedTables, recordings: str) -> str:
    """Write a query of recordings with `version`, the one to archive next, and its `attempts` so far."""
    if not loaded.has(LEDGER):
        return f"SELECT r.*, 0 AS attempts, 1 AS version FROM ({recordings}) AS r"
    # an erased version keeps its number: the name of its file is not given to another one
    key, ledger = ", ".join(RECORDING_KEY), write_ledger(loaded)
    of_recording = " AND ".join(f"{{0}}.{name} = r.{name}" for name in RECORDING_KEY)
    # max: on file destinations the ledger is append-only, and holds a row for each attempt
    return f"""
        SELECT r.*, coalesce(f.attempts, 0) AS attempts, coalesce(s.version, 0) + 1 AS version
        FROM ({recordings}) AS r
        LEFT JOIN (
            SELECT {key}, max(version) AS version FROM ({ledger}) AS b
            WHERE status IN ('stored', 'erased') GROUP BY {key}
        ) AS s ON {of_recording.format("s")}
        LEFT JOIN (
            SELECT {key}, version, max(attempts) AS attempts FROM ({ledger}) AS c
            WHERE status IN ('failed', 'forbidden') GROUP BY {key}, version
        ) AS f ON {of_recording.format("f")} AND f.version = coalesce(s.version, 0) + 1"""


def write_final(ledger: str, recordings: str) -> str:
    """Write a query of the keys of those recordings whose audio is not to be fetched, as they are now."""
    return f"""
        SELECT DISTINCT {", ".join(f"r.{name}" for name in RECORDING_KEY)}
        FROM ({recordings}) AS r JOIN ({ledger}) AS a ON {SAME_RECORDING} AND {FITS}
        WHERE a.status IN {FINAL}"""
