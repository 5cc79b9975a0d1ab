"""Explains errors of DuckDB and Postgres."""

from __future__ import annotations

import re

from vbc_source.errors import SettingsError, VbcError
from vbc_source.load.failures.causes import first_line

_ENCODED = "in an address, write @, / and : of a password as %40, %2F and %3A"
POSTGRES_ADDRESS = (
    "credentials in [destination.postgres] cannot be read: write "
    f"postgresql://user:password@host:5432/database ({_ENCODED}), or set host, database, username and "
    "password in [destination.postgres.credentials]"
)

# by words of the message, since ADBC passes no code on; the first that is there counts
_REFUSALS = {  # until somebody changes rights or the database
    "permission denied for schema": (
        "grant USAGE and CREATE on it, and on the schema of that name with _staging, to the user of "
        "[destination.postgres] credentials (docs/destinations.md)"
    ),
    "permission denied": (
        "grant it to the user of [destination.postgres] credentials, who needs CREATE on the database "
        "(docs/destinations.md)"
    ),
    "must be owner of": (
        "there is a new column for it; let the role that owns it load once, or make the user of "
        "[destination.postgres] credentials a member of that role"
    ),
    "has no equivalent in encoding": (
        "texts of VBC hold any characters, which this database cannot: load into one with ENCODING 'UTF8'"
    ),
}
_INTERRUPTIONS = {  # another attempt may succeed
    "read-only transaction": (
        "set host in [destination.postgres] credentials to the primary server, or "
        "default_transaction_read_only of the database or its user to off; the next run continues"
    ),
    "due to statement timeout": (
        "raise statement_timeout of the database or of the user of [destination.postgres] credentials; the "
        "next run continues"
    ),
    "due to lock timeout": (
        "another session holds a lock on a table: let it end, or raise lock_timeout of the user of "
        "[destination.postgres] credentials; the next run continues"
    ),
    "too many connections": (
        "raise CONNECTION LIMIT of the user or the database in [destination.postgres] credentials, or "
        "max_connections of the server: a load holds up to ten; the next run continues"
    ),
    "due to administrator command": "somebody ended the connection; the next run continues",
    "server closed the connection": "the server was stopped, or has failed; the next run continues",
}
# why a server refuses a connection until somebody changes the settings, its rules or its roles
_REFUSED_CONNECTIONS = (
    *("authentication failed", "no password supplied", "does not exist", "pg_hba.conf"),
    *("configuration parameter", "not permitted to log in", "not currently accepting connections"),
    *("SSL", "certificate verify failed", "invalid value for parameter", "unsupported startup parameter"),
)


class DatabaseHeld(VbcError):
    """Raised when another process has the DuckDB file open, which admits one."""


def explain_duckdb(error: BaseException) -> VbcError:
    """Explain that the file cannot be opened or written: it is in use, or its disk is full."""
    text = first_line(error)
    if "Could not set lock" in text:
        return DatabaseHeld(
            f"another process has the DuckDB file open: {text.removeprefix('IO Error: ')}; end that "
            "process, or wait for it"
        )
    if "No space left" in str(error):
        return VbcError(
            f"the disk of the DuckDB file is full: {text}; free some space, the next run continues"
        )
    return VbcError(
        f"{text} (the file is set by [destination.duckdb] credentials; by default vbc.duckdb here)"
    )


def explain_full_duckdb(error: BaseException) -> VbcError | None:
    """Explain what DuckDB says of a full disk: an error of transactions where its log cannot be written."""
    return explain_duckdb(error) if "No space left" in str(error) else None


def explain_postgres(error: BaseException) -> VbcError | None:
    """Explain that the server cannot be reached, refuses the login, or a right is missing.

    What only a person can mend is a SettingsError: Airflow and Prefect try everything else again.
    """
    # what stands before an @ there is the rest of a password that is not encoded
    text = re.sub(r'host name "[^"]*@', 'host name "…@', first_line(error))
    if "invalid dsn" in text or "percent-encoded" in text:  # they repeat the address, and so the password
        return SettingsError(POSTGRES_ADDRESS)
    for kind, advice in ((SettingsError, _REFUSALS), (VbcError, _INTERRUPTIONS)):
        if words := next((words for words in advice if words in text), None):
            return kind(f"{text}: {advice[words]}")
    if not any(words in text for words in ("connection to server", "could not translate host name")):
        return None
    # a server that restarts, moves or has no free connection answers at another attempt
    kind = SettingsError if any(words in text for words in _REFUSED_CONNECTIONS) else VbcError
    return kind(
        f"{text} (server and login are set by [destination.postgres] credentials"
        f"{f'; {_ENCODED}' if 'translate host name' in text else ''})"
    )
