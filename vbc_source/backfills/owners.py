"""Which account and user `self` stands for: proofs in the destination name real ids."""

from __future__ import annotations

from contextlib import closing

from vbc_source.api.client import Client
from vbc_source.config import SELF, VbcConfig, load_config
from vbc_source.extract.accounts import AccountDirectory
from vbc_source.extract.reading.lists import ListReader
from vbc_source.load.locks import open_turns
from vbc_source.warehouse.queries import LoadedTables


def resolve_self(config: VbcConfig, loaded: LoadedTables) -> VbcConfig:
    """Return settings with real ids instead of `self`; costs a request where one is `self`.

    Otherwise the proofs of every account in a dataset would count as those of the API user's account. A login
    takes its turn in the destination.
    """
    if SELF not in (*config.accounts, *(config.users or ())):
        return config
    client = Client.from_config(config)
    with closing(client), open_turns(loaded.destination, loaded.make_client) as turns:
        client.take_turns(turns)
        directory = AccountDirectory(ListReader(config, client), config.login.identity())
        accounts = list(dict.fromkeys(directory.find_account(account, {}) for account in config.accounts))
        users = config.users
        if users and SELF in users:
            own = directory.find_user(accounts[0])
            users = tuple(dict.fromkeys(own if user == SELF else user for user in users))
    return load_config(account_id=accounts, **({} if users is None else {"user_ids": list(users)}))
