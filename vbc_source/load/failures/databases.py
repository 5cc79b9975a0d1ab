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


def explain_postgres(error: BaseException) -> SettingsError | None:
    """Explain that the server cannot be reached, refuses the login, or a right is missing."""
    # what stands before an @ there is the rest of a password that is not encoded
    text = re.sub(r'host name "[^"]*@', 'host name "…@', first_line(error))
    if "invalid dsn" in text:  # it repeats the address, and so the password
        return SettingsError(POSTGRES_ADDRESS)
    if "permission denied" in text:
        return SettingsError(
            f"{text}: grant it to the user of [destination.postgres] credentials, who needs CREATE on the "
            "database (docs/destinations.md)"
        )
    if "must be owner of" in text:
        return SettingsError(
            f"{text}: there is a new column for it; let the role that owns it load once, or make the user of "
            "[destination.postgres] credentials a member of that role"
        )
    if not any(words in text for words in ("connection to server", "could not translate host name")):
        return None
    return SettingsError(
        f"{text} (server and login are set by [destination.postgres] credentials"
        f"{f'; {_ENCODED}' if 'translate host name' in text else ''})"
    )
