"""Tenants: one customer of many, whose settings in `[sources.vbc.tenants.NAME]` override `[sources.vbc]`.

A tenant is chosen for a piece of work, not passed from function to function: whatever reads settings
meanwhile reads those of the tenant, so that no function can forget whom it works for.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import dlt
from dlt.common.configuration.specs.base_configuration import (
    BaseConfiguration,
    extract_inner_hint,
    is_base_configuration_inner_hint,
    is_secret_hint,
)

from vbc_source.errors import SettingsError, UsageError, VbcError

SECTION = "sources.vbc.tenants"
_VARIABLES = "SOURCES__VBC__TENANTS__"
# as dlt writes a dataset's name, and as the environment can hold it: two names must not become one there
_NAME = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
# `vbc_data` and `vbc_models` belong to the settings without a tenant; the others end names of pipelines and
# datasets that belong to another one: `vbc_acme_audio` loads the ledgers of the tenant `acme`
_RESERVED = re.compile(
    r"(all|data|destination)|(.*_)?(audio|verify|backfill|init|models|staging|demo)|(.*_)?stg_.*"
)

# a thread or process that is started meanwhile has no tenant: whoever starts one passes the name on
_current: ContextVar[str | None] = ContextVar("vbc_tenant", default=None)


def current_tenant() -> str | None:
    """Return the tenant that was chosen; None for the settings of `[sources.vbc]` alone."""
    return _current.get()


@contextmanager
def hold_tenant(name: str | None) -> Iterator[None]:
    """Choose a tenant for the work inside; None leaves the choice as it is.

    Raises:
        UsageError: The settings have no such tenant; the message names those that they have.
        SettingsError: The name is no name for a tenant.
    """
    if name is None:
        yield
        return
    if name not in (known := list_tenants()):
        there = f"choose from {', '.join(known)}" if known else f"none is configured: add [{SECTION}.NAME]"
        raise UsageError(f"no such tenant: {name}; {there}")
    if not _NAME.fullmatch(name) or _RESERVED.fullmatch(name):
        raise SettingsError(
            f"[{SECTION}.{name}]: choose another name, of lower-case letters, digits and single underscores, "
            "not all, data, destination, models, audio, verify or such a word behind an underscore: datasets "
            "and pipelines have these names"
        )
    token = _current.set(name)
    try:
        yield
    except VbcError as error:
        # the same error, whose class says how the command ends, and whether a retry may help
        error.args = tuple(name_own_tables(arg) if isinstance(arg, str) else arg for arg in error.args)
        raise
    finally:
        _current.reset(token)


def name_own_tables(text: str) -> str:
    """Return a message that names the chosen tenant's tables of settings instead of everybody's."""
    tenant = current_tenant()
    return re.sub(r"\[sources\.vbc(?=[.\]])(?!\.tenants)", f"[{SECTION}.{tenant}", text) if tenant else text


def list_tenants() -> list[str]:
    """Return the names of all tenants in the files of settings and in the environment, sorted."""
    variables = [name for name in os.environ if name.startswith(_VARIABLES)]
    # dlt reads variables in upper case alone, so their case says nothing about the name's
    names = {name.removeprefix(_VARIABLES).partition("__")[0].lower() for name in variables}
    section, _, key = SECTION.rpartition(".")
    # each provider by itself: `dlt.config.get` ends at the first table, and a tenant may be in one file alone
    for provider in dlt.config.config_providers:
        table, _ = provider.get_value(key, dict, None, *section.split("."))
        if isinstance(table, dict):
            names |= set(map(str, table))
    return sorted(names)


def read_setting(name: str, kind: Any = str, tenant: str | None = None) -> Any:
    """Read one setting of a tenant, by default of the chosen one; None where it has none of its own."""
    place = f"{SECTION}.{tenant or current_tenant()}.{name}"
    # dlt.secrets leaves out config.toml, where no secret may be
    if is_secret_hint(kind):
        secret: Any = dlt.secrets.get(place)
        return None if secret is None else str(secret)
    return dlt.config.get(place, extract_inner_hint(kind))


def read_own_settings(spec: type[BaseConfiguration], sections: tuple[str, ...] = ("",)) -> dict[str, Any]:
    """Read what the chosen tenant sets itself of a configuration.

    Args:
        spec: The configuration.
        sections: Where to look for each setting in the tenant's table, such as `audio.`; the first wins.
    """
    found: dict[str, Any] = {}
    for name, hint in spec.get_resolvable_fields().items():
        for section in sections:
            if is_base_configuration_inner_hint(inner := extract_inner_hint(hint)):
                value: Any = read_own_settings(inner, (f"{section}{name}.",)) or None
            else:
                value = read_setting(f"{section}{name}", hint)
            if value is not None:
                found.setdefault(name, value)
    return found
