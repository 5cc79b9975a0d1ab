"""Which accounts' folders of a bucket are ours: several tenants may share one bucket."""

from __future__ import annotations

from vbc_source.api.client import Client
from vbc_source.audio.ledger import LEDGER
from vbc_source.config import SELF, VbcConfig
from vbc_source.errors import SettingsError, VbcError
from vbc_source.extract.accounts import AccountDirectory
from vbc_source.extract.reading.lists import ListReader
from vbc_source.recordings import escape
from vbc_source.tenants import current_tenant, list_tenants
from vbc_source.warehouse.queries import LoadedTables

ACCOUNT_FOLDER = "account_id="


def find_own_folders(
    config: VbcConfig, loaded: LoadedTables, client: Client | None = None
) -> frozenset[str] | None:
    """Return the folders of the accounts that the settings or the ledger name; None for all of the bucket.

    `self` names none: without tenants the whole bucket is one customer's. With tenants it stands for the
    account that the ledger has, or that VBC answers for where there is a `client`.

    Raises:
        SettingsError: VBC had to be asked which account `self` is, and did not say.
    """
    if SELF in config.accounts and not list_tenants():
        return None
    accounts = {account for account in config.accounts if account != SELF}
    if loaded.find(LEDGER):
        # also those that the settings no longer name: their files are in this ledger
        accounts |= {str(account) for (account,) in loaded.query(f"SELECT DISTINCT account_id FROM {LEDGER}")}
    if SELF in config.accounts and client:
        accounts.add(_ask(config, client))
    return frozenset(f"{ACCOUNT_FOLDER}{escape(account)}" for account in accounts)


def _ask(config: VbcConfig, client: Client) -> str:
    try:
        return AccountDirectory(ListReader(config, client), config.login.identity()).find_account(SELF, {})
    except VbcError as error:
        tenant = current_tenant()
        section = f"[sources.vbc.tenants.{tenant}]" if tenant else "[sources.vbc]"
        raise SettingsError(
            "tenants may share the bucket, and VBC does not say which account is this one's: set account_id "
            f"in {section} ({error})"
        ) from error
