"""How files are stored in a bucket: locks, encryption, storage class and tags. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from vbc_source.errors import SettingsError
from vbc_source.filters import read_setting_table

LOCK_MODES = ("GOVERNANCE", "COMPLIANCE")
LONGEST_LOCK = 36_500  # days; S3 allows a hundred years
MOST_TAGS = 10
COLD_CLASSES = ("GLACIER", "DEEP_ARCHIVE")  # objects have to be restored before they can be read
_TAG = re.compile(r"[\w +\-=.:/@]+")  # what S3 allows in names and values of tags
# what others have of this kind: written here for the message that it is not used
_ALTERNATIVES = {
    "gs": "set retention, encryption and storage class on the bucket in Google Cloud",
    "az": "set an immutability policy, encryption and the access tier on the container in Azure",
    "file": "a folder has none of these",
}


def check_place(url: str, setting: str) -> None:
    """Refuse an address that ends before the bucket or the folder, or lacks a slash. Raises SettingsError."""
    scheme, found, rest = url.strip().partition("://")
    # fsspec takes an address without `//` for a local folder, and would archive into one named `s3:`
    if not found and (remote := re.match(r"(s3a?|gc?s|az|abfss?):", url.strip(), re.IGNORECASE)):
        raise SettingsError(f"{setting} must begin with {remote[1].lower()}://")
    if found and not (rest.strip("/") if scheme.lower() == "file" else rest.split("/", 1)[0]):
        place = "folder" if scheme.lower() == "file" else "bucket"
        raise SettingsError(f"{setting} names no {place} behind {scheme}://: add it")


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """What every object that is stored gets.

    Attributes:
        object_lock_mode: `GOVERNANCE` or `COMPLIANCE`; None for no lock.
        object_lock_days: Days from its upload that an object is locked.
        object_lock_until: Until when objects are locked, in place of `object_lock_days`.
        legal_hold: Whether objects get a legal hold, which stays until it is removed, besides any lock.
        kms_key_id: The key in AWS KMS that encrypts objects; None for the bucket's own setting.
        storage_class: Such as `STANDARD_IA`; None for the bucket's own setting.
        tags: Names and values.
    """

    object_lock_mode: str | None = None
    object_lock_days: int | None = None
    object_lock_until: datetime | None = None
    legal_hold: bool = False
    kms_key_id: str | None = None
    storage_class: str | None = None
    tags: Mapping[str, str] = field(default_factory=dict)

    @property
    def locks(self) -> bool:
        """Whether objects are locked or held."""
        return bool(self.object_lock_mode or self.legal_hold)

    def check_backend(self, protocol: str, now: datetime) -> None:
        """Raise SettingsError if the objects of a backend cannot get these, or a lock would be over."""
        names = [item.name for item in fields(self) if getattr(self, item.name)]
        if names and protocol not in ("s3", "s3a"):
            alternative = _ALTERNATIVES.get(
                {"gcs": "gs", "abfs": "az", "abfss": "az"}.get(protocol, protocol)
            )
            raise SettingsError(
                f"{', '.join(names)} in [sources.vbc.audio] works in s3:// buckets alone, not in "
                f"{protocol}://{f': {alternative}' if alternative else ''}"
            )
        if self.object_lock_until and self.object_lock_until <= now:
            raise SettingsError(f"object_lock_until is in the past: {self.object_lock_until.isoformat()}")

    def s3_fields(self, now: datetime) -> dict[str, Any]:
        """Return the arguments of S3's PutObject for an object that is uploaded now."""
        values: dict[str, Any] = {}
        if self.object_lock_mode:
            until = self.object_lock_until or now + timedelta(days=self.object_lock_days or 0)
            values |= {"ObjectLockMode": self.object_lock_mode, "ObjectLockRetainUntilDate": until}
        if self.legal_hold:
            values["ObjectLockLegalHoldStatus"] = "ON"
        if self.kms_key_id:
            values |= {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": self.kms_key_id}
        if self.storage_class:
            values["StorageClass"] = self.storage_class
        if self.tags:
            # S3 takes tags in the form of a query string
            values["Tagging"] = urlencode(self.tags)
        return values


def read_tags(value: Any) -> dict[str, str]:
    """Parse the setting `tags`, a table or its JSON; raises SettingsError."""
    tags = {
        str(name): str(text)
        for name, text in read_setting_table("tags", value, '{"team": "records"}').items()
    }
    if len(tags) > MOST_TAGS:
        raise SettingsError(f"tags has {len(tags)} entries; S3 allows {MOST_TAGS}")
    for name, text in tags.items():
        if len(name) > 128 or len(text) > 256 or not _TAG.fullmatch(name) or not _TAG.fullmatch(text or " "):
            raise SettingsError(
                f"tags: S3 does not allow {name[:40]!r}: names have up to 128 characters, values 256, "
                "and both letters, digits, spaces and + - = . _ : / @ alone"
            )
    return tags


def check_lock(mode: Any, days: Any, until: datetime | None) -> None:
    """Raise SettingsError unless the three settings of an object lock fit together."""
    if mode is not None and mode not in LOCK_MODES:
        raise SettingsError(f"object_lock_mode must be {' or '.join(LOCK_MODES)}, not {mode!r}")
    whole = isinstance(days, int) and not isinstance(days, bool)
    if days is not None and not (whole and 1 <= days <= LONGEST_LOCK):
        raise SettingsError(f"object_lock_days must be a whole number from 1 to {LONGEST_LOCK}, not {days!r}")
    if days is not None and until is not None:
        raise SettingsError("object_lock_days and object_lock_until are both set: remove one of them")
    if mode is not None and days is None and until is None:
        raise SettingsError("object_lock_mode needs object_lock_days or object_lock_until")
    if mode is None and (days is not None or until is not None):
        name = "object_lock_until" if days is None else "object_lock_days"
        raise SettingsError(f"{name} needs object_lock_mode: {' or '.join(LOCK_MODES)}")


def check_storage_class(name: Any) -> None:
    """Raise SettingsError for a storage class that is malformed, or whose objects cannot be read at once."""
    if name is None:
        return
    if not isinstance(name, str) or not re.fullmatch(r"[A-Z][A-Z_]*", name):
        raise SettingsError(f"storage_class must be a name such as STANDARD_IA, not {name!r}")
    if name in COLD_CLASSES:
        raise SettingsError(
            f"storage_class {name} is not possible: its objects cannot be read back, which retention and the "
            "dashboard need; GLACIER_IR can"
        )
