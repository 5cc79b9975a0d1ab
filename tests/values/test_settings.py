"""Settings are checked before anything is sent, and each error names its setting."""

from __future__ import annotations

import inspect
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from vbc_source import vbc_source
from vbc_source.config import HISTORY, RECORDING_API, VbcConfig
from vbc_source.errors import SettingsError
from vbc_source.filters import Filters, check_filters
from vbc_source.pii import PiiPolicy
from vbc_source.setting_values import read_accounts, read_date, read_users

NOW = datetime(2025, 6, 1, 12, tzinfo=timezone.utc)
DAY = datetime(2025, 1, 31, tzinfo=timezone.utc)
INDIA = timezone(timedelta(hours=5, minutes=30))


def check(**changes: Any) -> VbcConfig:
    return VbcConfig.from_values(**changes)


def test_defaults_are_valid() -> None:
    config = check()
    assert (config.recording_api, config.base_url) == (RECORDING_API, "https://api.vonage.com")
    assert (config.accounts, config.users, config.start, config.end) == (("self",), None, None, None)
    assert (config.lookback, config.page_size, config.max_concurrency) == (timedelta(hours=48), 1000, 8)
    assert (config.skip_forbidden, config.rows_per_run, config.stateless) == (False, None, False)
    assert (config.filters_of("company_recordings"), config.pii_policy, config.vbc_timezone) == (
        Filters(),
        PiiPolicy(),
        "UTC",
    )


def test_values_are_parsed() -> None:
    config = check(
        account_id=["549825", 549826],
        user_ids=[745249],
        start_date="2025-01-31",
        end_date="2025-02-28T08:00:00+0000",
        lookback_hours=0.5,
        page_size=1,
        max_concurrency=1,
        requests_per_minute=1,
        on_forbidden="skip",
        rows_per_run=1,
        allow_external_schedulers=True,
        filters={"call_direction": "INBOUND"},
        pii="hash",
        pii_key="a key for the tests",
    )
    assert (config.accounts, config.users) == (("549825", "549826"), ("745249",))
    assert (config.start, config.end) == (DAY, datetime(2025, 2, 28, 8, tzinfo=timezone.utc))
    assert config.lookback == timedelta(minutes=30)
    assert config.skip_forbidden
    assert config.stateless
    assert config.pii_policy == PiiPolicy("hash", b"a key for the tests")
    assert config.filters_of("company_recordings") == check_filters(
        {"call_direction": "INBOUND"}, config.pii_policy
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("start_date", "yesterday"),
        ("start_date", "31.01.2025"),
        ("start_date", "2025-02-29"),
        ("start_date", 20250131),
        ("start_date", "0001-01-01T00:00:00+05:30"),
        ("end_date", "tomorrow"),
        ("end_date", "2025-01-31T25:00:00Z"),
        ("end_date", ["2025-01-31"]),
        ("lookback_hours", -1),
        ("lookback_hours", -0.001),
        ("lookback_hours", float("-inf")),
        ("retry_seconds", -1),
        ("retry_seconds", float("nan")),
        ("retry_seconds", float("inf")),
        ("page_size", 0),
        ("page_size", -1000),
        ("max_concurrency", 0),
        ("requests_per_minute", 0),
        ("requests_per_minute", -10),
        ("rows_per_run", 0),
        ("on_forbidden", "ignore"),
        ("on_forbidden", ""),
        ("on_forbidden", None),
        ("on_forbidden", "SKIP"),
        ("account_id", ""),
        ("account_id", " "),
        ("account_id", []),
        ("account_id", ["549825", ""]),
        ("account_id", "549825/users"),
        ("account_id", ["549825", "../549826"]),
        ("account_id", -5),
        ("user_ids", "745249/calls"),
        ("user_ids", ["745249", "../1"]),
        ("user_ids", ["all", "745249"]),
        ("user_ids", 745249.0),
        ("user_ids", True),
        ("pii", "mask"),
        ("pii", None),
        ("pii", ""),
    ],
)
def test_error_for_a_malformed_value_names_the_setting(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=rf"^{name} must "):
        check(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("lookback_hours", float("nan")),
        ("lookback_hours", float("inf")),
        ("lookback_hours", 1e12),
        ("lookback_hours", "48h"),
        ("page_size", "many"),
        ("max_concurrency", None),
        ("account_id", None),
        ("account_id", 549825.0),
    ],
)
def test_error_for_an_unusable_value_names_the_setting(name: str, value: Any) -> None:
    with pytest.raises(SettingsError, match=name):
        check(**{name: value})


def test_error_for_start_after_end_names_both() -> None:
    with pytest.raises(SettingsError, match=r"start_date 2025-02-01 is after end_date 2025-01-31"):
        check(start_date="2025-02-01", end_date="2025-01-31")


def test_dates_are_compared_as_instants() -> None:
    settings = check(start_date="2025-01-31T01:00:00+05:30", end_date="2025-01-30T20:00:00Z")
    assert settings.start == datetime(2025, 1, 30, 19, 30, tzinfo=timezone.utc)
    with pytest.raises(SettingsError, match="start_date"):
        check(start_date="2025-01-30T20:00:00Z", end_date="2025-01-31T01:00:00+05:30")


def test_start_may_equal_end() -> None:
    settings = check(start_date="2025-01-31", end_date=date(2025, 1, 31))
    assert settings.start == settings.end == DAY


@pytest.mark.parametrize(
    "value",
    [
        "2025-01-31",
        " 2025-01-31T00:00:00Z",
        date(2025, 1, 31),
        DAY,
        DAY.astimezone(INDIA),
        datetime(2025, 1, 31),
    ],
)
def test_dates_may_be_text_dates_or_instants(value: Any) -> None:
    assert read_date("start_date", value) == DAY
    end = read_date("end_date", value)
    assert end is not None
    assert end.tzinfo is timezone.utc


@pytest.mark.parametrize("value", [None, ""])
def test_empty_date_is_none(value: Any) -> None:
    assert read_date("start_date", value) is None


def test_history_starts_two_years_ago_by_default() -> None:
    assert check().first_start(NOW) == NOW - HISTORY == datetime(2023, 6, 2, 12, tzinfo=timezone.utc)
    assert check(start_date="2025-01-31").first_start(NOW) == DAY


@pytest.mark.parametrize(
    ("value", "accounts"),
    [
        ("self", ("self",)),
        (" 549825 ", ("549825",)),
        (549825, ("549825",)),
        (["549825", 549826, "self"], ("549825", "549826", "self")),
        (("549825",), ("549825",)),
        ([549825, "549825", " 549825"], ("549825",)),
    ],
)
def test_accounts_may_be_one_or_several(value: Any, accounts: tuple[str, ...]) -> None:
    assert read_accounts(value) == accounts


@pytest.mark.parametrize(
    "value",
    [
        "/t/vbc.prod/call_recording/v1/api",
        "t/vbc.prod/call_recording/v1/api/",
        "//t/vbc.prod/call_recording/v1/api//",
    ],
)
def test_api_path_is_normalized(value: str) -> None:
    assert check(recording_api=value).recording_api == "/t/vbc.prod/call_recording/v1/api"


@pytest.mark.parametrize(
    "value",
    ["", " ", "[]", "https://api.vonage.com/t/vbc.prod/call_recording/api", "/t/../api", "/api?page=1"],
)
def test_an_api_path_that_is_none_is_refused_by_name(value: str) -> None:
    with pytest.raises(SettingsError, match=r"recording_api must be a path such as /t/vbc\.prod"):
        check(recording_api=value)


@pytest.mark.parametrize(
    "value", ["https://", "https:///t", "https://api vonage.com", "https://api.vonage.com?x"]
)
def test_an_address_without_a_host_is_refused_by_name(value: str) -> None:
    with pytest.raises(SettingsError, match="base_url must be an address such as"):
        check(base_url=value)


def test_arguments_of_the_source_equal_the_settings() -> None:
    arguments = inspect.signature(vbc_source).parameters
    fields = VbcConfig.get_resolvable_fields()
    defaults = VbcConfig()
    # which the models alone need; a tenant is no setting, but chooses settings
    assert set(arguments) - {"tenant"} == set(fields) - {"vbc_timezone", "model_variables"}
    for name, argument in arguments.items():
        assert name in ("credentials", "tenant") or argument.default == getattr(defaults, name)


@pytest.mark.parametrize(
    ("value", "users"),
    [
        ("all", None),
        (" ALL ", None),
        ("self", ("self",)),
        ([], ()),
        ("[]", ()),
        ("", ()),
        ("none", ()),
        (None, ()),
        (745249, ("745249",)),
        ("745249,745250", ("745249", "745250")),
        ('["745249", "self"]', ("745249", "self")),
        ([745249, "745249"], ("745249",)),
    ],
)
def test_users_may_be_all_some_self_or_none(value: Any, users: tuple[str, ...] | None) -> None:
    assert read_users(value) == users


def test_error_for_hashing_without_a_key_says_where_to_set_it() -> None:
    for key in (None, "", "k", "k" * 15, " " * 40):
        with pytest.raises(SettingsError, match=r"16 characters .* pii_key .* \.dlt/secrets\.toml"):
            check(pii="hash", pii_key=key)


def test_repr_contains_no_key() -> None:
    assert "a key for the tests" not in repr(check(pii="hash", pii_key="a key for the tests"))
