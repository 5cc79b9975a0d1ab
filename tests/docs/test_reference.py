"""The reference pages are those of the code, and everything in them is described."""

from __future__ import annotations

import runpy
from pathlib import Path

import click
import pytest
from expected_models import MODELS

from vbc_source.config import AudioConfig, TenantConfig, VbcConfig, VbcCredentials

ROOT = Path(__file__).parents[2]
SCRIPT = runpy.run_path(str(ROOT / "docs" / "make_reference.py"))
COMMANDS = {entry.name: entry.command for entry in SCRIPT["list_commands"]()}


@pytest.mark.parametrize("page", list(SCRIPT["PAGES"]))
def test_reference_page_is_up_to_date(page: str) -> None:
    """If it is not, run `make reference` and commit the result."""
    assert (SCRIPT["FOLDER"] / page).read_text() == SCRIPT["PAGES"][page]()


@pytest.mark.parametrize("name", list(COMMANDS))
def test_command_and_its_options_have_help_texts(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    options = [param for param in command.params if isinstance(param, click.Option)]
    assert [option.opts for option in options if not option.help] == []


@pytest.mark.parametrize("config", [VbcConfig, VbcCredentials, AudioConfig, TenantConfig])
def test_every_setting_is_described_in_the_class_docstring(config: type) -> None:
    described = SCRIPT["read_attributes"](config)
    assert set(SCRIPT["read_defaults"](config)) == set(described)
    assert all(text.endswith(".") for text in described.values())


def test_every_table_of_the_code_is_described() -> None:
    tables = [table for source in SCRIPT["read_sources"]() for table in source["tables"]]
    assert set(SCRIPT["read_tables"]()) == {table["name"] for table in tables}
    for table in tables:
        assert all(column["description"].endswith(".") for column in table["columns"]), table["name"]


def test_every_model_and_column_is_described() -> None:
    described = {model["name"]: model for model in SCRIPT["read_models"]()}
    files = {path.stem for path in SCRIPT["MODELS"].rglob("*.sql")}
    assert set(described) == files
    for name, columns in MODELS.items():
        listed = [column["name"] for column in described[f"vbc__{name}"]["columns"]]
        assert set(columns.split(", ")) <= set(listed)
        assert all(
            column["description"] and column["data_type"] for column in described[f"vbc__{name}"]["columns"]
        )
