"""What a gateway holds: accounts, and how their APIs answer."""

from __future__ import annotations

import zlib

from vbc_source.emulator.accounts import Account, Size, make_account
from vbc_source.emulator.api import Api
from vbc_source.emulator.archives import MembersHook
from vbc_source.emulator.jobs import Jobs
from vbc_source.emulator.recordings import Recordings
from vbc_source.emulator.users import Users


class Holdings:
    """Accounts of which one is the main one, and settings of their APIs."""

    def __init__(self, api: Api) -> None:
        """Begin with no account; the main one must be opened first."""
        self._api = api
        self._scene = api.scene

    def add_account(
        self,
        account_id: str,
        *,
        seed: int | None = None,
        recordings: int = 0,
        users: int = 1,
        user_recordings: int = 0,
        days: int = 365,
    ) -> Account:
        """Invent another account that the API user may see.

        Args:
            account_id: Of the account.
            seed: Equal seeds invent equal calls, of equal ids; follows from the account when not given.
            recordings: How many the company has.
            users: How many it has.
            user_recordings: How many on-demand recordings they have, parted unevenly.
            days: Over how many days recordings are spread, on average, until now.

        Raises:
            ValueError: There is an account of that id.
        """
        if str(account_id) in self.accounts:
            raise ValueError(f"there is an account {account_id}")
        seed = zlib.crc32(str(account_id).encode()) if seed is None else seed
        size = Size(recordings, 0, users, user_recordings, days, self._scene.clock())
        return self._open(str(account_id), seed, size)

    def _open(self, account_id: str, seed: int, size: Size, **first: str) -> Account:
        main = account_id == self._api.main
        account = make_account(self._scene, self._api.faults, account_id, seed, size, main=main, **first)
        with self._scene.lock:
            self.accounts[account_id] = account
        return account

    @property
    def accounts(self) -> dict[str, Account]:
        """The accounts that the API user may see, by id, the main one first."""
        return self._api.accounts

    @property
    def main(self) -> Account:
        """The account to which the API user belongs."""
        return self._api.accounts[self._api.main]

    @property
    def company(self) -> Recordings:
        """The recordings of the main account's company."""
        return self.main.company

    @property
    def users(self) -> Users:
        """The users of the main account."""
        return self.main.users

    @property
    def jobs(self) -> Jobs:
        """The export jobs of the main account."""
        return self.main.jobs

    @property
    def page_size_cap(self) -> int:
        """The largest page; asking for more gets this, and the answer says so."""
        return self._api.page_size_cap

    @page_size_cap.setter
    def page_size_cap(self, rows: int) -> None:
        self._api.page_size_cap = rows

    @property
    def job_seconds(self) -> float:
        """How long an export job takes that is started from now on."""
        return self._scene.job_seconds

    @job_seconds.setter
    def job_seconds(self, seconds: float) -> None:
        self._scene.job_seconds = seconds

    @property
    def zip_members(self) -> MembersHook | None:
        """Changes what is in exports' archives: from names and contents it makes others."""
        return self._api.zip_members

    @zip_members.setter
    def zip_members(self, hook: MembersHook | None) -> None:
        self._api.zip_members = hook

    @property
    def storage_url(self) -> str:
        """Where ``audio-redirect`` leads to; the path of the request follows."""
        return self._api.storage_url

    @storage_url.setter
    def storage_url(self, url: str) -> None:
        self._api.storage_url = url

    def release(self) -> None:
        """Let the recordings that were held back appear."""
        self.company.release()

    @property
    def base_url(self) -> str:
        """Where links point."""
        return self._scene.base_url

    def bind(self, base_url: str) -> None:
        """Let links point to where the gateway is served."""
        with self._scene.lock:
            self._scene.base_url = base_url
            for account in self.accounts.values():
                account.move(base_url)
