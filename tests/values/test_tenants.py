"""Tenants: whose settings win, which names are possible, and that two customers never mix."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from in_process import restored_process

from vbc_source import list_tenants, use_tenant
from vbc_source.audio.bucket import Bucket
from vbc_source.config import VbcConfig, has_setting, load_audio_config, load_config
from vbc_source.errors import SettingsError, UsageError
from vbc_source.load.destinations import open_destination
from vbc_source.tenants import current_tenant

CONFIG = """
[sources.vbc]
page_size = 500
requests_per_minute = 10
pii = "drop"
[sources.vbc.audio]
bucket_url = "s3://shared"
max_attempts = 3
[sources.vbc.tenants.acme]
page_size = 50
account_id = "12"
[sources.vbc.tenants.acme.audio]
bucket_url = "s3://acme"
[sources.vbc.tenants.globex]
dataset = "globex_calls"
"""
SECRETS = """
[sources.vbc.credentials]
client_id = "shared"
client_secret = "shared secret"
username = "ours"
password = "our password"
refresh_token = "our refresh token"
[sources.vbc.tenants.globex.credentials]
username = "theirs"
password = "their password"
"""


@pytest.fixture
def configure(own_folder: Path) -> Iterator[Callable[[str, str], None]]:
    """Write the files of settings, and have dlt read them."""
    from dlt.common.configuration.container import Container
    from dlt.common.configuration.specs.pluggable_run_context import PluggableRunContext

    def write(config: str = CONFIG, secrets: str = SECRETS) -> None:
        (own_folder / ".dlt").mkdir(exist_ok=True)
        (own_folder / ".dlt" / "config.toml").write_text(config)
        (own_folder / ".dlt" / "secrets.toml").write_text(secrets)
        Container()[PluggableRunContext].reload_providers()

    with restored_process():
        yield write


@pytest.fixture
def configured(configure: Callable[[], None]) -> None:
    configure()


def load_for(name: str) -> VbcConfig:
    with use_tenant(name):
        return load_config()


@pytest.mark.usefixtures("configured")
def test_what_a_tenant_sets_wins_and_the_rest_is_shared() -> None:
    acme, globex = load_for("acme"), load_for("globex")
    assert (acme.page_size, acme.accounts, acme.pii, acme.requests_per_minute) == (50, ("12",), "drop", 10)
    assert (globex.page_size, globex.accounts, globex.login.client_id) == (500, ("self",), "shared")
    assert load_config().page_size == 500
    with use_tenant("acme"):
        audio = load_audio_config()
        assert (audio.bucket_url, audio.max_attempts, audio.page_size) == ("s3://acme", 3, 50)
    with use_tenant("globex"):
        assert load_audio_config().bucket_url == "s3://shared"


def test_a_tenant_wins_wherever_it_is_set(
    configure: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """dlt asks the environment first: a variable for everybody would beat a line of the tenant in a file."""
    monkeypatch.setenv("SOURCES__VBC__PAGE_SIZE", "7")
    monkeypatch.setenv("SOURCES__VBC__CREDENTIALS__USERNAME", "everybody")
    monkeypatch.setenv("SOURCES__VBC__TENANTS__ACME__LOOKBACK_HOURS", "5")
    monkeypatch.setenv("SOURCES__VBC__TENANTS__INITECH__CREDENTIALS__USERNAME", "initech")
    monkeypatch.setenv("SOURCES__VBC__TENANTS__INITECH__CREDENTIALS__PASSWORD", "secret")
    monkeypatch.setenv("SOURCES__VBC__TENANTS__INITECH__ROWS_PER_RUN", "9")
    configure()
    assert list_tenants() == ["acme", "globex", "initech"]
    assert (load_for("acme").page_size, load_for("acme").lookback_hours) == (50, 5)
    assert [load_for(name).login.username for name in list_tenants()] == ["everybody", "theirs", "initech"]
    with use_tenant("initech"):
        assert has_setting("rows_per_run")
    assert not has_setting("rows_per_run")


@pytest.mark.usefixtures("configured")
def test_no_part_of_a_login_comes_from_somebody_else() -> None:
    own = load_for("globex").login
    assert (own.username, own.password, own.refresh_token, own.access_token) == (
        "theirs",
        "their password",
        None,
        None,
    )
    shared = load_for("acme").login  # which has an account of its own
    assert (shared.username, shared.refresh_token) == ("ours", "our refresh token")


def test_a_tenant_without_login_and_account_would_load_somebody_elses_recordings(
    configure: Callable[[str], None],
) -> None:
    configure(CONFIG + '[sources.vbc.tenants.initech]\npii = "keep"\n')
    with pytest.raises(SettingsError, match=r"tenant initech has no login of its own.*account_id"):
        load_for("initech")


@pytest.mark.usefixtures("configured")
def test_each_tenant_has_a_dataset_and_a_pipeline() -> None:
    with use_tenant("acme", "postgres") as target:
        assert (target.pipeline, target.dataset, target.destination) == ("vbc_acme", "vbc_acme", "postgres")
    with use_tenant("globex") as target:
        assert (target.pipeline, target.dataset) == ("vbc_globex", "globex_calls")
    with use_tenant("globex", dataset="other", pipeline="mine") as target:
        assert (target.pipeline, target.dataset) == ("mine", "other")


@pytest.mark.parametrize("dataset", ["vbc_acme", "Vbc-Acme"])
def test_two_tenants_with_one_dataset_are_refused(configure: Callable[[str], None], dataset: str) -> None:
    """Also where dlt makes one schema of two names."""
    configure(CONFIG.replace("globex_calls", dataset))
    for name, named in (("acme", "vbc_acme"), ("globex", dataset)):
        with pytest.raises(SettingsError, match=f"tenants acme and globex have the same dataset, {named}:"):
            load_for(name)


def test_a_tenant_may_have_a_destination_and_credentials_of_its_own(
    configure: Callable[[str, str], None],
) -> None:
    own = CONFIG.replace('dataset = "globex_calls"', 'dataset = "vbc_acme"\ndestination = "globex_files"')
    own += """
[destination.globex_files]
destination_type = "filesystem"
bucket_url = "s3://globex-lake"
"""
    secrets = """
[destination.globex_files.credentials]
aws_access_key_id = "globex key"
aws_secret_access_key = "globex secret"
[destination.filesystem.credentials]
aws_access_key_id = "shared key"
aws_secret_access_key = "shared secret"
[destination.filesystem.acme.credentials]
aws_access_key_id = "acme key"
aws_secret_access_key = "acme secret"
"""
    configure(own, SECRETS + secrets)
    with use_tenant("globex", default_destination="postgres") as target:
        assert (target.destination, target.dataset) == ("globex_files", "vbc_acme")
        destination = open_destination(target)
        config = destination.configuration(destination.spec()._bind_dataset_name("calls"))
        assert (config.bucket_url, config.credentials.aws_access_key_id) == ("s3://globex-lake", "globex key")
        assert Bucket("s3://bucket/calls")._fs.key == "shared key"
    with use_tenant("acme", default_destination="postgres") as target:
        assert target.destination == "postgres"
        assert Bucket("s3://bucket/calls")._fs.key == "acme key"
    with use_tenant("globex", "duckdb") as target:
        assert target.destination == "duckdb"


def test_an_unknown_tenant_is_reported_with_the_known_ones(configure: Callable[[str], None]) -> None:
    with pytest.raises(
        UsageError, match=r"no such tenant: acme; none is configured: add \[sources\.vbc\.ten"
    ):
        load_for("acme")
    configure(CONFIG)
    with pytest.raises(UsageError, match="no such tenant: hooli; choose from acme, globex"):
        load_for("hooli")


@pytest.mark.parametrize(
    "name", ["Acme", "a-b", "a__b", "_a", "a_", "data", "all", "acme_audio", "verify", "x_stg_1", "models"]
)
def test_names_that_would_collide_are_refused(configure: Callable[[str], None], name: str) -> None:
    configure(f'[sources.vbc.tenants."{name}"]\naccount_id = "1"\n')
    with pytest.raises(SettingsError, match="choose another name"):
        load_for(name)


@pytest.mark.usefixtures("configured")
def test_threads_work_for_tenants_of_their_own() -> None:
    def work(name: str) -> tuple[str | None, int]:
        with use_tenant(name):
            return current_tenant(), load_config().page_size

    names = ["acme", "globex"] * 4
    with ThreadPoolExecutor(8) as pool, use_tenant("acme"):
        found = list(pool.map(work, names))
    assert found == [(name, {"acme": 50, "globex": 500}[name]) for name in names]
    assert current_tenant() is None
