from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from verification_cases import Prepare, Stand, configure, make_standard_gateway

from vbc_source.emulator import Emulator, Gateway


@pytest.fixture(scope="session")
def standard_database(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Load the standard gateway once for each choice of resources; return the database to copy."""
    databases: dict[tuple[str, ...], Path] = {}

    def load(*resources: str) -> Path:
        if resources not in databases:
            folder = tmp_path_factory.mktemp("standard")
            gateway = make_standard_gateway()
            with pytest.MonkeyPatch.context() as patch, Emulator(gateway) as url:
                patch.chdir(folder)
                patch.setenv("DLT_DATA_DIR", str(folder / "dlt"))
                for name, value in configure(url).items():
                    patch.setenv(name, value)
                Stand(gateway, url).sync(*resources)
            databases[resources] = folder / "vbc.duckdb"
        return databases[resources]

    return load


@pytest.fixture
def prepare(
    serve: Callable[[Gateway], str],
    standard_database: Callable[..., Path],
    own_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    keep_open: Callable[[Path], None],
) -> Prepare:
    """Serve a gateway, configure this process for it, and have its recordings loaded.

    Without a gateway of its own a test gets the standard one, with a copy of a database that is loaded once.
    With `shared`, other processes may open the database.
    """

    def start(
        gateway: Gateway | None = None,
        *resources: str,
        load: bool = True,
        shared: bool = False,
        **settings: str,
    ) -> Stand:
        stand = Stand(gateway or make_standard_gateway(), "")
        stand.url = serve(stand.gateway)
        for name, value in configure(stand.url, **settings).items():
            monkeypatch.setenv(name, value)
        if gateway is None:
            shutil.copy(standard_database(*resources), own_folder / "vbc.duckdb")
        elif load:
            stand.sync(*resources)
        if (own_folder / "vbc.duckdb").exists() and not shared:
            keep_open(own_folder / "vbc.duckdb")
        stand.gateway.clear()
        return stand

    return start
