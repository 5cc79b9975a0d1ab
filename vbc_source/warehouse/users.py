"""Which users an account still has, and which lists may not be read: of each, the newest row counts.

Plain files and Iceberg tables keep earlier rows beside it.
"""

from __future__ import annotations

from vbc_source.lakes.tables import FILESYSTEM
from vbc_source.schema.names import GONE, LOAD_ID
from vbc_source.warehouse.queries import LoadedTables

# in the order of time: the newest access to a list comes last
_ACCESS = "SELECT account_id, resource, user_id, access FROM user_access ORDER BY noted_at"


def write_listed(loaded: LoadedTables, table: str, key: str = "id") -> str:
    """Write the query of account and key of those rows of a snapshot that its list still has."""
    if loaded.kind != FILESYSTEM:
        return f"SELECT account_id, {key} FROM {table} WHERE {GONE} IS NULL"
    newest = f"row_number() OVER (PARTITION BY account_id, {key} ORDER BY {LOAD_ID} DESC)"
    rows = f"SELECT account_id, {key}, {GONE}, {newest} AS place FROM {table}"
    return f"SELECT account_id, {key} FROM ({rows}) AS s WHERE place = 1 AND {GONE} IS NULL"


def read_listed_users(loaded: LoadedTables) -> list[tuple[str, str]]:
    """Read the users that their account still has, each with the account."""
    if not loaded.find("users"):
        return []
    return [
        (str(account), str(user))
        for account, user in loaded.query(lambda loaded: write_listed(loaded, "users"))
    ]


def read_gone_users(loaded: LoadedTables) -> set[tuple[str, str]]:
    """Read the users that their account no longer has, each with the account."""
    if not loaded.find("users"):
        return set()
    known = loaded.query("SELECT DISTINCT account_id, id FROM users")
    return {(str(account), str(user)) for account, user in known} - set(read_listed_users(loaded))


def read_unreadable(loaded: LoadedTables) -> dict[tuple[str, str], set[str]]:
    """Read the users whose list may not be read, or is gone, by account and resource."""
    rows = loaded.query(_ACCESS) if loaded.find("user_access") else []
    newest = {(str(account), str(name), str(user)): access for account, name, user, access in rows}
    unreadable: dict[tuple[str, str], set[str]] = {}
    for (account, resource, user), access in newest.items():
        if access != "allowed":
            unreadable.setdefault((account, resource), set()).add(user)
    return unreadable
