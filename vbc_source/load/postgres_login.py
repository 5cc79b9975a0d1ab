"""Logins of Postgres without a password: trust, peer, a service, `.pgpass`."""

from __future__ import annotations

from dlt.common.configuration import configspec
from dlt.common.typing import TSecretStrValue

from vbc_source.dlt_internals import PostgresClientConfiguration, PostgresCredentials


@configspec(init=False)
class OpenPostgresCredentials(PostgresCredentials):
    """dlt's credentials, of which only the database is required: libpq finds the rest by its own rules."""

    username: str | None = None  # type: ignore[assignment]
    password: TSecretStrValue | None = None  # type: ignore[assignment]
    host: str | None = None  # type: ignore[assignment]


@configspec
class OpenPostgresConfiguration(PostgresClientConfiguration):
    """dlt's configuration with these credentials."""

    credentials: OpenPostgresCredentials = None  # type: ignore[assignment]  # dlt: required

    def data_location(self) -> str:
        """Return where the data is, also where no host is given."""
        login = self.credentials
        if not login or login.host:
            return super().data_location()
        host = login.get_query().get("host") or "local socket"
        return f"{host}:{login.port or self.DEFAULT_PORT}/{login.database}"
