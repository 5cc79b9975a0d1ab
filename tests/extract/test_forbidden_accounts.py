"""What a run cannot read, above all accounts: with `skip` it is data, with `raise` the rest comes first."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from expected_rows import MAIN, count, expected_recordings, loaded
from extraction import Extraction, extract
from loading import TOKEN_REJECTED, query, still_gateway

from vbc_source.api.http import rate_limit
from vbc_source.emulator import Gateway
from vbc_source.errors import Forbidden, GatewayFault, Throttled, Unavailable
from vbc_source.extract.refusals import Refusals, collect_refusals

Serve = Callable[[Gateway], str]
ACCOUNTS = [MAIN, "999"]
NOTED = "SELECT account_id, resource, user_id, access FROM user_access ORDER BY account_id, resource"


def test_an_account_that_is_left_out_is_a_row_until_it_may_be_read(serve: Serve) -> None:
    gateway = still_gateway(recordings=20, users=2)
    url, pipeline = serve(gateway), Extraction()
    extract(pipeline, url, account_id=ACCOUNTS, on_forbidden="skip")
    lists = ("company_recordings", "extensions", "users")
    assert query(pipeline, NOTED) == [("999", name, "", "forbidden") for name in lists]
    assert count(pipeline, "company_recordings") == len(gateway.company)
    assert pipeline.metrics["company_recordings"]["forbidden"] == ["account 999"]
    extract(pipeline, url, account_id=ACCOUNTS, on_forbidden="skip")
    assert len(query(pipeline, NOTED)) == 3  # not new
    gateway.add_account("999", recordings=5, users=1)
    extract(pipeline, url, account_id=ACCOUNTS, on_forbidden="skip")
    assert query(pipeline, NOTED) == [("999", name, "", "allowed") for name in lists]
    assert count(pipeline, "company_recordings") == len(gateway.company) + 5


def test_the_row_names_the_real_account_where_self_is_forbidden(serve: Serve) -> None:
    gateway = still_gateway(recordings=20, users=1)
    gateway.fault("no-rights*always@/company_call_recordings")
    pipeline = Extraction()
    extract(pipeline, serve(gateway), on_forbidden="skip")
    assert query(pipeline, NOTED) == [(MAIN, "company_recordings", "", "forbidden")]


@pytest.mark.parametrize("bounds", [{}, {"end_date": "2030-01-01"}], ids=["incremental", "backfill"])
def test_what_is_allowed_is_loaded_before_a_refusal_is_raised(serve: Serve, bounds: dict[str, str]) -> None:
    gateway = still_gateway(recordings=20, users=2, user_recordings=8)
    url, pipeline = serve(gateway), Extraction()
    with collect_refusals() as refusals:
        extract(pipeline, url, account_id=ACCOUNTS, **bounds)
    assert count(pipeline, "company_recordings") == len(gateway.company)
    assert (count(pipeline, "users"), count(pipeline, "user_recordings") > 0) == (2, True)
    assert "user_access" not in pipeline.tables
    with pytest.raises(Forbidden) as refused:
        refusals.check()
    message = str(refused.value)
    for words in (
        "Call Recording API, company recordings of account 999: the API user is not authorized",
        "give the user the right in the VBC admin portal",
        "set on_forbidden = skip to continue without them",
        "also affected: users of account 999, extensions of account 999",
        "what the user may read is loaded",
    ):
        assert words in message
    # the allowed account goes on from its cursor; the other one is asked again in each run
    gateway.clear()
    with collect_refusals() as refusals:
        extract(pipeline, url, account_id=ACCOUNTS, **bounds)
    assert gateway.count("accounts/999/company") == 1
    with pytest.raises(Forbidden):
        refusals.check()


@pytest.mark.parametrize(
    ("fault", "read"),
    [
        ("suspended*always@/extensions", {"users", "user_recordings"}),
        ("no-resource*always@/extensions", {"users", "user_recordings"}),
        ("bad-gateway*always@/provisioning/", set()),
        ("not-found*always@/provisioning/", set()),
        ("suspended*always@/jobs", {"users", "extensions", "user_recordings"}),
        ("bad-request*always@/jobs", {"users", "extensions", "user_recordings"}),
    ],
)
@pytest.mark.parametrize("bounds", [{}, {"end_date": "2030-01-01"}], ids=["incremental", "backfill"])
def test_a_list_that_is_broken_for_good_does_not_stop_the_others(
    serve: Serve, bounds: dict[str, str], fault: str, read: set[str]
) -> None:
    gateway = still_gateway(recordings=20, users=2, user_recordings=8)
    gateway.fault(fault)
    url, pipeline = serve(gateway), Extraction()
    for _ in range(2):
        with collect_refusals() as refusals:
            extract(pipeline, url, retry_seconds=0, **bounds)
        with pytest.raises(GatewayFault, match="; the rest is loaded"):
            refusals.check()
    assert count(pipeline, "company_recordings") == len(gateway.company)
    assert {name for name in ("users", "extensions", "user_recordings") if name in pipeline.tables} >= read
    gateway.heal()
    with collect_refusals() as refusals:
        extract(pipeline, url, **bounds)
    refusals.check()
    assert count(pipeline, "user_recordings") > 0


@pytest.mark.parametrize("account", [MAIN, "self"])
@pytest.mark.parametrize("fault", ["suspended", TOKEN_REJECTED, "rejected-200", "bad-request", "not-found"])
def test_a_company_list_that_is_broken_for_good_does_not_stop_the_lists_of_users(
    serve: Serve, fault: str, account: str
) -> None:
    gateway = still_gateway(recordings=20, users=2, user_recordings=8)
    gateway.fault(f"{fault}*always@/company_call_recordings")
    url, pipeline = serve(gateway), Extraction()
    with collect_refusals() as refusals:
        extract(pipeline, url, account_id=account, retry_seconds=0)
    with pytest.raises(
        GatewayFault, match=r"company recordings of account (549825|self): .*; the rest is loaded"
    ):
        refusals.check()
    assert loaded(pipeline) == expected_recordings(gateway)
    assert gateway.count("/token") <= 6
    gateway.heal()
    extract(pipeline, url, account_id=account)
    assert count(pipeline, "company_recordings") == len(gateway.company)


@pytest.mark.parametrize("fault", ["suspended", TOKEN_REJECTED])
def test_the_only_list_that_is_broken_ends_the_run_with_its_error(serve: Serve, fault: str) -> None:
    gateway = still_gateway(recordings=20)
    gateway.fault(f"{fault}*always@/company_call_recordings")
    with (
        pytest.raises(GatewayFault, match="company recordings of account 549825") as raised,
        collect_refusals(),
    ):
        extract(Extraction(), serve(gateway), "company_recordings", account_id=MAIN, retry_seconds=0)
    assert "is loaded" not in str(raised.value)


def test_a_gateway_that_answers_nothing_ends_the_run(serve: Serve) -> None:
    gateway = still_gateway(recordings=20, users=2)
    gateway.fault("suspended*always")
    with pytest.raises(Unavailable), collect_refusals():
        extract(Extraction(), serve(gateway), retry_seconds=0)


def test_without_somebody_who_collects_them_a_refusal_ends_the_run(serve: Serve) -> None:
    """As in `pipeline.run(vbc_source())`: dlt then loads nothing, but the error is not missed."""
    gateway = still_gateway(recordings=5)
    with pytest.raises(Forbidden, match="account 999"):
        extract(Extraction(), serve(gateway), account_id=ACCOUNTS)


def test_who_may_read_nothing_is_told_so_where_the_account_is_not_known_either(serve: Serve) -> None:
    gateway = still_gateway(recordings=3)
    gateway.fault("no-rights*always")
    text = r"set account_id to its number\. .*is not authorized for this"
    with collect_refusals(Refusals()), pytest.raises(Exception, match=text):
        extract(Extraction(), serve(gateway), "company_recordings", "users")


def test_what_was_read_before_a_quota_is_used_up_for_hours_is_loaded(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rate_limit, "LONGEST_THROTTLE", 0.0)  # longer than a run waits
    gateway = still_gateway(recordings=20, users=60, user_recordings=90)
    url, pipeline = serve(gateway), Extraction()
    gateway.fault("throttled*always@/users/")
    with collect_refusals() as refusals:
        extract(pipeline, url, start_date="2000-01-01")
    assert count(pipeline, "company_recordings") == len(gateway.company)
    assert count(pipeline, "users") == 60
    assert gateway.count("/users/") < 60  # the others are not asked
    with pytest.raises(Throttled, match=r"recordings of user .* run again later.*the rest is loaded"):
        refusals.check()
    gateway.heal()
    extract(pipeline, url, start_date="2000-01-01")
    assert loaded(pipeline) == expected_recordings(gateway)
