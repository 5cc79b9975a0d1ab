"""Makes a reader of the API's lists from the source's own configuration."""

from __future__ import annotations

from typing import Any

import dlt
from dlt.common.configuration.inject import with_config
from dlt.common.typing import TSecretStrValue

from vbc_source.api.auth import VbcCredentials
from vbc_source.api.client import Client
from vbc_source.api.endpoints import SELF
from vbc_source.config import ALL, BASE_URL, RECORDING_API, Instant, check_settings
from vbc_source.extract.accounts import AccountDirectory
from vbc_source.extract.lists import ListReader


@with_config(sections=("sources", "vbc"))
def open_reader(
    credentials: VbcCredentials = dlt.secrets.value,
    base_url: str = BASE_URL,
    recording_api: str = RECORDING_API,
    account_id: Any = SELF,
    user_ids: Any = ALL,
    start_date: Instant | None = None,
    lookback_hours: float = 48,
    page_size: int = 1000,
    max_concurrency: int = 8,
    requests_per_minute: int | None = None,
    on_forbidden: str = "raise",
    retry_seconds: float = 60,
    filters: Any = None,
    pii: str = "keep",
    pii_key: TSecretStrValue | None = None,
) -> tuple[ListReader, AccountDirectory]:
    """Make a reader, and what knows accounts and users; nothing is sent.

    The arguments are those of `vbc_source`.

    Raises:
        SettingsError: a setting is malformed; the message names it.
    """
    settings = check_settings(
        recording_api=recording_api,
        account_id=account_id,
        user_ids=user_ids,
        start_date=start_date,
        end_date=None,
        lookback_hours=lookback_hours,
        page_size=page_size,
        max_concurrency=max_concurrency,
        requests_per_minute=requests_per_minute,
        on_forbidden=on_forbidden,
        rows_per_run=None,
        allow_external_schedulers=False,
        filters=filters,
        pii=pii,
        pii_key=pii_key,
    )
    client = Client(
        base_url,
        credentials,
        requests_per_minute=requests_per_minute,
        retry_seconds=retry_seconds,
        connections=settings.max_concurrency,
    )
    reader = ListReader(settings, client)
    return reader, AccountDirectory(reader, credentials.identity())
