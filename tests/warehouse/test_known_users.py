"""Which users there are, and whose list may be read: the newest row counts, also in plain files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from loading import load, open_target, still_gateway

from vbc_source.config import VbcConfig
from vbc_source.emulator import Gateway
from vbc_source.erasure.find import find_member_tables
from vbc_source.erasure.subject import read_subject
from vbc_source.load.destinations import Target
from vbc_source.pii import PiiPolicy
from vbc_source.warehouse.completeness import USER_RECORDINGS, find_lists
from vbc_source.warehouse.queries import LoadedTables
from vbc_source.warehouse.users import read_gone_users

SIX = read_subject("14155550106", None, (), PiiPolicy())  # the number of user 6
CONFIG = VbcConfig.from_values(account_id="549825", on_forbidden="skip")


@pytest.mark.parametrize("destination", [pytest.param("duckdb", marks=pytest.mark.slow), "filesystem"])
def test_who_may_be_read_again_is_read_and_who_has_left_is_not(
    serve: Callable[[Gateway], str], own_folder: Path, monkeypatch: pytest.MonkeyPatch, destination: str
) -> None:
    monkeypatch.setenv("DESTINATION__FILESYSTEM__BUCKET_URL", str(own_folder / "lake"))
    gateway = still_gateway(users=0, recordings=0)
    for user in (5, 6, 7):
        gateway.users.add(id=user, recordings=3, login_name=f"1415555010{user}")
    url, pipeline = serve(gateway), open_target(destination=destination)

    def load_users() -> LoadedTables:
        load(pipeline, url, "users", "user_recordings", on_forbidden="skip")
        return LoadedTables(Target(destination=destination))

    def name_lists(loaded: LoadedTables) -> list[str]:
        return sorted(known.user for known in find_lists(loaded, CONFIG, USER_RECORDINGS, {}) or ())

    gateway.users.forbid(5)
    before = load_users()
    assert name_lists(before) == ["6", "7"]
    assert not read_gone_users(before)
    assert find_member_tables(before, SIX) == ["users"]
    gateway.users.allow(5)
    gateway.users.remove(6)
    after = load_users()
    assert name_lists(after) == ["5", "7"]
    assert read_gone_users(after) == {("549825", "6")}
    assert find_member_tables(after, SIX) == []  # its number may be erased
