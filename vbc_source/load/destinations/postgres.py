"""A Postgres destination that keeps empty texts, writes only what changed, and finds rows by an index.

dlt loads Arrow tables into Postgres as CSV, where an empty text becomes null. Parquet files, which the ADBC
driver copies, keep it. dlt's merge deletes each row that was read again and inserts it anew; ours leaves
unchanged rows alone. Logins without a password work: trust, peer, a service, `.pgpass`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import dlt
from dlt.common.configuration import configspec
from dlt.common.typing import TSecretStrValue

from vbc_source.dlt_internals import PostgresClientConfiguration, PostgresCredentials
from vbc_source.errors import ExtraMissing
from vbc_source.load.destinations.cached_configuration import CachedConfiguration

ADBC = "adbc_driver_postgresql"  # copies parquet files
DRIVER_MISSING = (
    "loading into Postgres needs the driver adbc-driver-postgresql, which is missing, or switched off by "
    "disable_adbc_detection"
)


@configspec(init=False)
class OpenPostgresCredentials(PostgresCredentials):
    """dlt's credentials, of which only the database is required: libpq finds the rest by its own rules."""

    username: str | None = None  # type: ignore[assignment]
    password: TSecretStrValue | None = None  # type: ignore[assignment]
    host: str | None = None  # type: ignore[assignment]

    def get_query(self) -> dict[str, Any]:
        """Return the options of the address.

        Without the encoding, the server would take texts for those of its own default, such as LATIN1, and
        store other characters: drivers send UTF-8.
        """
        return {**super().get_query(), "client_encoding": "UTF8"}

    def to_native_representation(self) -> str:
        """Return the address for libpq, which reads only `%20` as a space."""
        # dlt leaves the spaces of a password as they are, which libpq 17 refuses, and writes those of a
        # parameter as `+`, which libpq keeps
        address, mark, parameters = super().to_native_representation().partition("?")
        return address.replace(" ", "%20") + mark + parameters.replace("+", "%20")


@configspec
class OpenPostgresConfiguration(PostgresClientConfiguration):
    """dlt's configuration with these credentials."""

    credentials: OpenPostgresCredentials = None  # type: ignore[assignment]  # dlt: required

    def data_location(self) -> str:
        """Return where the data is, also where no host is given."""
        login = self.credentials
        if not login or login.host:
            return super().data_location()
        # libpq takes a host or a socket's folder from the address's query as well
        host = login.get_query().get("host") or "local socket"
        return f"{host}:{login.port or self.DEFAULT_PORT}/{login.database}"


class VbcPostgres(CachedConfiguration, dlt.destinations.postgres):
    """dlt's Postgres destination with a client of ours.

    Pass it to your own pipeline for what `vbc sync` loads, with `create_indexes=False`:
    `dlt.pipeline("vbc", destination=VbcPostgres(create_indexes=False), dataset_name="vbc_data")`. It takes
    the arguments and the configuration (`[destination.postgres]`) of dlt's own.
    """

    # no __init__ here: dlt reads the defaults of its arguments from its signature
    spec = OpenPostgresConfiguration  # type: ignore[assignment]

    @property
    def client_class(self) -> Any:
        """The client that dlt loads with; imported late, since psycopg2 comes with an extra."""
        from vbc_source.load.destinations.postgres_client import VbcPostgresClient

        return VbcPostgresClient

    @property
    def destination_type(self) -> str:
        """The type that dlt keeps in state: dlt's own, since the data is the same and dlt can load it too."""
        return "dlt.destinations.postgres"

    def _raw_capabilities(self) -> Any:
        capabilities: Any = super()._raw_capabilities()
        # dlt would load twenty tables at a time, with a connection or two each: a few pods would use up the
        # server's connections, 100 by default
        capabilities.max_parallel_load_jobs = 4
        capabilities.preferred_loader_file_format = "parquet"
        capabilities.loader_file_format_selector = partial(
            _select_format, capabilities.loader_file_format_selector
        )
        return capabilities


def _select_format(
    select: Any, preferred: Any, supported: Sequence[Any], /, *, table_schema: Any
) -> tuple[Any, Sequence[Any]]:
    """Choose a table's file format as dlt does; an error where that would be CSV, which loses empty texts."""
    choice: tuple[Any, Sequence[Any]] = select(preferred, supported, table_schema=table_schema)
    if "parquet" not in choice[1]:
        raise ExtraMissing(DRIVER_MISSING, "postgres")
    return choice
