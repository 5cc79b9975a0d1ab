"""The commands' destinations resolve their configuration once; a pipeline of your own each time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vbc_source import Target
from vbc_source.load.destinations import cached_configuration, open_destination
from vbc_source.load.destinations.filesystem import VbcFilesystem
from vbc_source.load.destinations.postgres import VbcPostgres

LOGIN = "postgresql://loader:invented@127.0.0.1:5432/calls"


@pytest.fixture(params=["filesystem", "postgres"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "first").as_uri())
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", LOGIN)
    return str(request.param)


def change(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", (tmp_path / "second").as_uri())
    monkeypatch.setenv("DESTINATION__POSTGRES__CREDENTIALS", LOGIN.replace("calls", "second"))


def locate(destination: Any, dataset: str = "vbc_data") -> str:
    config = destination.configuration(destination.spec()._bind_dataset_name(dataset))
    assert config.dataset_name == dataset
    return str(config.credentials.database if isinstance(destination, VbcPostgres) else config.bucket_url)


def test_a_command_resolves_once(kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    destination = open_destination(Target(destination=kind))
    first = locate(destination)
    change(monkeypatch, tmp_path)
    assert locate(destination) == first
    assert "second" in locate(destination, "another dataset is another configuration")
    assert "second" in locate(open_destination(Target(destination=kind)))


def test_a_configuration_is_resolved_again_before_credentials_expire(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    destination = open_destination(Target(destination=kind))
    locate(destination)
    change(monkeypatch, tmp_path)
    monkeypatch.setattr(cached_configuration, "SECONDS_KEPT", 0)
    assert "second" in locate(destination)


def test_a_pipeline_of_ones_own_resolves_each_time(
    kind: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    destination = VbcPostgres() if kind == "postgres" else VbcFilesystem()
    locate(destination)
    change(monkeypatch, tmp_path)
    assert "second" in locate(destination)
