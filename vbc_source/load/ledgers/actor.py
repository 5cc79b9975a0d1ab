"""Who loads the rows of a ledger: the account of the operating system, the host, and the version in use."""

from __future__ import annotations

import getpass
import os
import socket
from functools import cache
from importlib.metadata import version


@cache
def find_actor() -> dict[str, str]:
    """Return the actor as the columns `custody.ACTOR` of a row."""
    return {
        "actor_user": find_user(),
        "actor_host": socket.gethostname(),
        "actor_version": version("vbc-source"),
    }


def find_user() -> str:
    """Return the account that this process runs as; whatever the environment says."""
    if os.name != "posix":
        return getpass.getuser()
    # not getpass: it believes LOGNAME and USER, which anybody may set
    return name_account(os.geteuid())


def name_account(number: int) -> str:
    """Return the name of an account of this machine; its number where it has none, as in containers."""
    import pwd  # not on Windows

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"uid {number}"
