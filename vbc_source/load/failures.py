"""Turn exceptions of dlt, databases and the system into one line: the reason, and the setting to change."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dlt
import duckdb
from dlt.common.configuration.exceptions import (
    ConfigFieldMissingException,
    ConfigurationException,
    ConfigValueCannotBeCoercedException,
    InvalidNativeValue,
    LookupTrace,
    ValueNotSecretException,
)
from dlt.common.configuration.providers.toml import TomlProviderReadException
from dlt.common.configuration.specs import ConnectionStringCredentials
from dlt.common.configuration.specs.exceptions import NativeValueError
from dlt.common.destination.exceptions import UnknownDestinationModule
from dlt.common.exceptions import MissingDependencyException
from dlt.destinations.exceptions import InvalidFilesystemLayout

from vbc_source.errors import ExtraMissing, SettingsError, VbcError

# what is imported, or named by dlt as a requirement, and the extra of this package that brings it
EXTRAS = {
    "postgres": ("psycopg2", "psycopg2cffi", "adbc_driver_postgresql", "postgres"),
    "s3": ("s3fs", "boto3", "botocore", "s3"),
    "gs": ("gcsfs", "google", "gs"),
    "az": ("adlfs", "azure", "az"),
    "delta": ("deltalake",),
    "iceberg": ("pyiceberg", "sqlalchemy"),
    "dbt": ("dbt",),
    "dashboard": ("jinja2",),
    "emulator": ("uvicorn", "starlette"),
}
# the package behind an address, by its scheme
_FILE_SYSTEMS = {
    **dict.fromkeys(("s3", "s3a"), "s3fs"),
    **dict.fromkeys(("gs", "gcs"), "gcsfs"),
    **dict.fromkeys(("az", "abfs", "abfss", "adl", "azure"), "adlfs"),
}
_DRIVERS = ("psycopg2", "adbc_driver_manager")
_S3 = ("botocore", "aiobotocore")
_NOT_ALLOWED = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR)
_ENCODED = "in an address, write @, / and : of a password as %40, %2F and %3A"
_POSTGRES_ADDRESS = (
    "credentials in [destination.postgres] cannot be read: write "
    f"postgresql://user:password@host:5432/database ({_ENCODED}), or set host, database, username and "
    "password in [destination.postgres.credentials]"
)
# what Postgres refuses until somebody changes the settings, the server's rules or its roles
_POSTGRES_REFUSALS = (
    *("authentication failed", "no password supplied", "does not exist", "pg_hba.conf"),
    *("configuration parameter", "not permitted to log in"),
)
_BUCKET_SETTINGS = (
    "(place and login are set by bucket_url and credentials in [destination.filesystem]; the place of the "
    "audio by bucket_url in [sources.vbc.audio])"
)
_S3_KEYS = "[destination.filesystem.credentials]"
_S3_ADVICE = {
    ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "400"): (  # a HEAD is answered without a code
        f"the login has expired, or is malformed: renew aws_session_token, with its keys, in {_S3_KEYS}, or "
        "the role of the machine"
    ),
    ("InvalidAccessKeyId", "SignatureDoesNotMatch"): (
        f"correct aws_access_key_id and aws_secret_access_key in {_S3_KEYS}"
    ),
    ("RequestTimeTooSkewed", "RequestExpired"): "set the clock of this machine",
    ("NoSuchBucket",): "make the bucket, or correct bucket_url and endpoint_url",
    ("SlowDown", "ServiceUnavailable", "InternalError", "500", "502", "503", "504"): (
        "the store fails, or is overloaded; the next run continues"
    ),
}
_S3_RIGHTS = {  # of operations that have not its name
    "HeadObject": "s3:GetObject",
    "ListObjectsV2": "s3:ListBucket",
    "ListObjectVersions": "s3:ListBucketVersions",
    "HeadBucket": "s3:ListBucket",
    "DeleteObjects": "s3:DeleteObject",
    "CopyObject": "s3:GetObject and s3:PutObject",
    "CreateMultipartUpload": "s3:PutObject",
    "UploadPart": "s3:PutObject",
    "CompleteMultipartUpload": "s3:PutObject",
}
_S3_OPERATIONS = {"PUT": "PutObject", "POST": "PutObject", "GET": "GetObject", "DELETE": "DeleteObject"}
DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class DatabaseHeld(VbcError):
    """Raised when another process has the DuckDB file open, which admits one."""


@contextmanager
def explaining() -> Iterator[None]:
    """Raise the reason instead of the exceptions that dlt wraps around it."""
    try:
        yield
    except VbcError:
        raise
    except Exception as error:
        causes = list(_causes(error))
        if any(isinstance(cause, KeyboardInterrupt) for cause in causes):
            raise KeyboardInterrupt from None
        reason = explain(error)
        # where it is in the chain itself, chaining it again would make a ring
        raise reason from (None if reason in causes else error)


def check_installed(package: str) -> None:
    """Raise ExtraMissing where a package is not installed, before requests are sent for what it would load.

    Raises:
        ExtraMissing: The message names the extra that brings it.
    """
    if find_spec(package) is None:
        raise _explain_import(ModuleNotFoundError(name=package))


def check_file_system(url: str) -> None:
    """Raise ExtraMissing where the package for this address is not installed.

    dlt asks for credentials first, and for keys even where the machine has a role: it would not find it.
    """
    if package := _FILE_SYSTEMS.get(url.strip().partition("://")[0].lower()):
        check_installed(package)


def explain(error: BaseException) -> VbcError:
    """Return the error of ours that tells the person who can act what an exception means."""
    causes = list(_causes(error))
    # dlt may try without a field that no setting can have, before it says what is wrong
    causes = [cause for cause in causes if not _is_incomplete(cause)] or causes
    for cause in causes:
        if isinstance(cause, VbcError):
            return cause
    for cause in reversed(causes):
        if known := _explain_known(cause):
            return known
    step = getattr(error, "step", None)  # of a dlt pipeline: extract, normalize or load
    prefix = f"{step} failed: " if step else ""
    return VbcError(f"{prefix}{type(causes[-1]).__name__}: {first_line(causes[-1])}")


def _explain_known(error: BaseException) -> VbcError | None:
    """Explain an exception that names what is wrong by itself, whatever is wrapped around it."""
    package = type(error).__module__.split(".")[0]
    if package in _DRIVERS:
        return _explain_postgres(error)
    if package in _S3:
        return _explain_s3(error)
    if failed := _explain_object_store(error):  # raised as an OSError, or a class of its own
        return failed
    for kind, explain_kind in _EXPLANATIONS.items():
        if isinstance(error, kind):
            return explain_kind(error)
    return None


def _explain_toml(error: TomlProviderReadException) -> SettingsError:
    files = [path for path in error.full_paths if Path(path).is_file()] or error.full_paths
    # only where in the file: the line itself may be a secret
    place = re.search(r"(?:at )?line \d+,? col(?:umn)? \d+", str(error))
    return SettingsError(
        f"{' or '.join(files)} is not valid TOML{f' ({place[0]})' if place else ''}: texts are in quotes, "
        "and each table and key is there once"
    )


def _explain_destination(error: UnknownDestinationModule) -> SettingsError:
    return SettingsError(
        f"there is no destination {error.ref}: correct --destination (such as duckdb, postgres or "
        f"filesystem), or set destination_type in [destination.{error.ref}]"
    )


def _explain_import(error: ImportError) -> SettingsError:
    if isinstance(error, MissingDependencyException):
        needed = [re.sub(r".*\[|\].*|[<>=!~ ].*", "", name) for name in error.dependencies]
        packages = ", ".join(error.dependencies)
    else:
        packages = error.name or first_line(error)
        needed = [packages.split(".")[0]]
    extras = [extra for extra, names in EXTRAS.items() if any(name in names for name in needed)]
    if not extras:
        return SettingsError(f"{packages} is not installed: pip install '{packages}'")
    return ExtraMissing(f"{packages} is not installed", extras[0])


def _explain_place(error: ValueNotSecretException) -> SettingsError:
    *sections, name = error.key.split(".")
    return SettingsError(
        f"{name} in [{'.'.join(sections)}] may hold a secret: move it from {error.provider_name} to "
        ".dlt/secrets.toml, or to the environment"
    )


def _explain_missing(error: ConfigFieldMissingException) -> SettingsError:
    names = dict.fromkeys(_missing_settings(error.traces))
    if not names:
        return SettingsError(f"a setting is missing or incomplete: {first_line(error)}")
    return SettingsError(
        f"a setting is missing: set {' and '.join(names)} in the environment, or in "
        ".dlt/config.toml or .dlt/secrets.toml (there in the table named by the parts before the last __)"
    )


def _is_incomplete(error: BaseException) -> bool:
    return isinstance(error, ConfigFieldMissingException) and not any(_missing_settings(error.traces))


def _explain_layout(error: InvalidFilesystemLayout) -> SettingsError:
    return SettingsError(
        f"layout in [destination.filesystem] has unknown placeholders, "
        f"{', '.join(error.invalid_placeholders)}: remove it, since dlt's own is needed, "
        "{table_name}/{load_id}.{file_id}.{ext}"
    )


def _explain_type(error: ConfigValueCannotBeCoercedException) -> SettingsError:
    kind = getattr(error.hint, "__name__", str(error.hint))  # the value itself may be a secret
    return SettingsError(f"{error.field_name} must be of type {kind}, and its value is not: correct it")


def _explain_credentials(error: InvalidNativeValue | NativeValueError) -> SettingsError:
    """Explain credentials that cannot be read: dlt names its own class, and what it got may be a secret."""
    if issubclass(error.spec, ConnectionStringCredentials):
        return SettingsError(_POSTGRES_ADDRESS)
    section = "sources.vbc" if error.spec.__module__.startswith("vbc_source") else "destination.filesystem"
    return SettingsError(
        f"credentials in [{section}] must be a table, and are a text that cannot be read: set "
        f"{', '.join(list(error.spec.get_resolvable_fields())[:2])} and so on in [{section}.credentials]"
    )


def _explain_value(error: ValueError) -> SettingsError | None:
    """Explain what the libraries of buckets say of a malformed address."""
    text = first_line(error)
    if text.startswith("Protocol not known"):
        return SettingsError(
            f"{text}: bucket_url in [destination.filesystem] or [sources.vbc.audio] must be a folder, or "
            "begin with s3://, gs:// or az://"
        )
    if text.startswith("Invalid endpoint"):
        return SettingsError(
            f"{text}: endpoint_url in [destination.filesystem.credentials] must begin with https:// or http://"
        )
    return None


def _explain_s3(error: BaseException) -> VbcError:
    """Explain what a bucket answers, or what S3's library refuses to send."""
    text = first_line(error)
    if invalid := re.search(r"Invalid bucket name .*", str(error)):  # in a second line
        text = invalid[0][:300]
    if getattr(error, "operation_name", "") == "CreateBucket":  # dlt makes one that is missing
        text = f"there is no such bucket, and it could not be made: {text}"
    return VbcError(f"{text.rstrip('.')}{advise_s3(error)} {_BUCKET_SETTINGS}")


def s3_code(error: BaseException) -> str:
    """Return the code of the answer of S3 behind an exception, such as AccessDenied; empty without one."""
    answer = _find_answer(error)
    return str(answer.response.get("Error", {}).get("Code", "")) if answer else ""


def advise_s3(error: BaseException) -> str:
    """Say what to change after an answer of S3, as the end of a message; empty where that is not known."""
    return _advise(s3_code(error), str(getattr(_find_answer(error), "operation_name", "")))


def _advise(code: str, operation: str) -> str:
    if code in ("AccessDenied", "403", "Forbidden"):
        right = _S3_RIGHTS.get(operation, f"s3:{operation}")
        # the answer to a HEAD has no body, and so no code that tells a wrong key from a missing right
        key = "; is the key right, and the clock of this machine?" if operation.startswith("Head") else ""
        return f": grant {right} to its login{key}"
    return next((f": {advice}" for codes, advice in _S3_ADVICE.items() if code in codes), "")


def _find_answer(error: BaseException) -> Any:
    """Return the exception of botocore that has an answer of S3, which s3fs wraps in one of the system's."""
    return next(
        (cause for cause in _causes(error) if isinstance(getattr(cause, "response", None), dict)), None
    )


def _explain_object_store(error: BaseException) -> VbcError | None:
    """Explain what the library of Delta tables says in many lines: the request and the reason alone."""
    text = re.sub(r"\x1b\[\d+m", "", str(error))
    request = re.search(r"Error performing (([A-Z]+) [^\s?]+)", text)
    if not request:
        return None
    code = re.search(r"<Code>(\w+)</Code>", text)
    reason = code or re.search(r"↳ ([^↳<]+?)\s*(?:↳ <[^↳]*)?$", text) or re.search(r" - ([^<>]+)$", text)
    operation = _S3_OPERATIONS.get(request[2], "")
    for mark, name in (("?list-type", "ListObjectsV2"), ("?delete", "DeleteObjects")):
        operation = name if mark in text else operation
    advice = _advise(code[1], operation) if code and operation else ""
    failed = f"{request[1]} failed{f': {reason[1].strip()[:200]}' if reason else ''}{advice}"
    return VbcError(f"{failed} {_BUCKET_SETTINGS}")


def _explain_arrow_s3(error: BaseException) -> VbcError | None:
    """Explain what Arrow says of a bucket, which it writes Iceberg tables with: it names bucket and key."""
    text = first_line(error)
    found = re.search(r"AWS Error (\w+).*? during (\w+) operation", text)
    if not found:
        return None
    named = re.search(r"ExceptionName: (\w+)", text)  # else the code as in ACCESS_DENIED
    code = named[1] if named else "".join(word.capitalize() for word in found[1].split("_"))
    return VbcError(f"{text.rstrip('.')}{_advise(code, found[2])} {_BUCKET_SETTINGS}")


def _explain_tls(error: ssl.SSLError) -> SettingsError:
    return SettingsError(
        f"{first_line(error)}: check endpoint_url in [destination.filesystem.credentials], which begins with "
        "http:// where the server has no certificate, and that the server's certificate is trusted here"
    )


def _missing_settings(traces: Mapping[str, Any]) -> Iterator[str]:
    """Yield the settings that were looked for, as environment variables, the one for all pipelines."""
    for found in traces.values():
        keys = []
        for trace in found:
            if not isinstance(trace, LookupTrace):  # of a setting that is a table: its own fields
                yield from _missing_settings(trace.traces)
            elif trace.provider == "Environment Variables":
                keys.append(trace.key)
        usual = [key for key in keys if key.startswith(("DESTINATION__", "SOURCES__"))]
        yield from (usual or keys)[:1]


def _explain_system(error: OSError) -> VbcError | None:
    """Explain what the system refuses; errors of connections are no matter of folders."""
    if failed := _explain_arrow_s3(error):
        return failed
    folder = dlt.current.run_context().data_dir
    name = error.filename2 or error.filename  # of a copy, the file that could not be written
    where = f"{name}: " if name else ""
    if error.errno in DISK_FULL:
        return VbcError(
            f"{where}the disk is full: free some space in dlt's data folder {folder} (another is set by "
            "DLT_DATA_DIR) and where the database or the lake is; the next run continues"
        )
    if error.errno in _NOT_ALLOWED and where:
        return SettingsError(
            f"{where}{error.strerror}: it must be there, and this user may write it. dlt's data folder is "
            f"{folder}; another is set by DLT_DATA_DIR"
        )
    return None


def _explain_duckdb(error: BaseException) -> VbcError:
    text = first_line(error)
    if "Could not set lock" in text:
        return DatabaseHeld(
            f"another process has the DuckDB file open: {text.removeprefix('IO Error: ')}; end that "
            "process, or wait for it"
        )
    if "No space left" in str(error):
        return VbcError(
            f"the disk of the DuckDB file is full: {text}; free some space, the next run continues"
        )
    return VbcError(
        f"{text} (the file is set by [destination.duckdb] credentials; by default vbc.duckdb here)"
    )


def _explain_full_duckdb(error: BaseException) -> VbcError | None:
    """Explain what DuckDB says of a full disk: an error of transactions where its log cannot be written."""
    return _explain_duckdb(error) if "No space left" in str(error) else None


def _explain_host(error: OSError) -> VbcError:
    return VbcError(  # not a SettingsError: the network may be back at the next attempt
        f"the name of a host is not known ({error.strerror}): check the address in the settings of the "
        "destination or the bucket, and the network"
    )


def _explain_refused(error: OSError) -> VbcError:
    return VbcError(  # not a SettingsError: the server may only be restarting
        f"nothing answers there ({first_line(error)}): check the address in the settings of the destination "
        "or the bucket, such as endpoint_url in [destination.filesystem.credentials], and the server"
    )


def _explain_postgres(error: BaseException) -> VbcError | None:
    """Explain that the server cannot be reached, refuses the login, or a right is missing."""
    # what stands before an @ there is the rest of a password that is not encoded
    text = re.sub(r'host name "[^"]*@', 'host name "…@', first_line(error))
    if "invalid dsn" in text:  # it repeats the address, and so the password
        return SettingsError(_POSTGRES_ADDRESS)
    if "permission denied" in text:
        return SettingsError(
            f"{text}: grant it to the user of [destination.postgres] credentials, who needs CREATE on the "
            "database (docs/destinations.md)"
        )
    if "must be owner of" in text:
        return SettingsError(
            f"{text}: there is a new column for it; let the role that owns it load once, or make the user of "
            "[destination.postgres] credentials a member of that role"
        )
    if not any(words in text for words in ("connection to server", "could not translate host name")):
        return None
    # a server that restarts, moves or has no free connection answers at another attempt
    kind = SettingsError if any(words in text for words in _POSTGRES_REFUSALS) else VbcError
    return kind(
        f"{text} (server and login are set by [destination.postgres] credentials"
        f"{f'; {_ENCODED}' if 'translate host name' in text else ''})"
    )


# the first that fits explains, so a special class stands before a general one
_EXPLANATIONS: dict[type[BaseException], Callable[[Any], VbcError | None]] = {
    TomlProviderReadException: _explain_toml,
    UnknownDestinationModule: _explain_destination,
    ImportError: _explain_import,
    InvalidFilesystemLayout: _explain_layout,
    ConfigFieldMissingException: _explain_missing,
    ValueNotSecretException: _explain_place,
    ConfigValueCannotBeCoercedException: _explain_type,
    InvalidNativeValue: _explain_credentials,
    NativeValueError: _explain_credentials,
    ConfigurationException: lambda error: SettingsError(first_line(error)),
    duckdb.IOException: _explain_duckdb,
    duckdb.Error: _explain_full_duckdb,
    socket.gaierror: _explain_host,
    ConnectionRefusedError: _explain_refused,
    ssl.SSLError: _explain_tls,
    OSError: _explain_system,
    ValueError: _explain_value,
}


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def first_line(error: BaseException) -> str:
    """Return the first line of an error; further lines may contain data."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
