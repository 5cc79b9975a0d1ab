"""Explains what a bucket answers: which right, key or setting to change."""

from __future__ import annotations

import re
from typing import Any

from vbc_source.errors import SettingsError, VbcError
from vbc_source.load.failures.causes import first_line, walk_causes

_BUCKET_SETTINGS = (
    "(place and login are set by bucket_url and credentials in [destination.filesystem]; the place of the "
    "audio by bucket_url in [sources.vbc.audio])"
)
_S3_KEYS = "[destination.filesystem.credentials]"
_S3_ADVICE = {
    ("ExpiredToken", "InvalidToken", "TokenRefreshRequired", "400"): (  # 400: a HEAD has no other code
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
_S3_RIGHTS = {  # of the operations whose right has another name
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


def explain_s3(error: BaseException) -> VbcError:
    """Explain an error response of S3, or a request that its library refuses to send."""
    text = first_line(error)
    if invalid := re.search(r"Invalid bucket name .*", str(error)):  # may be in the second line
        text = invalid[0][:300]
    if getattr(error, "operation_name", "") == "CreateBucket":  # dlt makes a missing bucket
        text = f"there is no such bucket, and it could not be made: {text}"
    return VbcError(f"{text.rstrip('.')}{advise_s3(error)} {_BUCKET_SETTINGS}")


def s3_code(error: BaseException) -> str:
    """Return the code of the response behind an exception, such as AccessDenied; empty without one."""
    found = _find_response(error)
    return str(found.response.get("Error", {}).get("Code", "")) if found else ""


def advise_s3(error: BaseException) -> str:
    """Return the end of a message that names what to change; empty where that is not known."""
    return _advise(s3_code(error), str(getattr(_find_response(error), "operation_name", "")))


def _advise(code: str, operation: str) -> str:
    if code in ("AccessDenied", "403", "Forbidden"):
        right = _S3_RIGHTS.get(operation, f"s3:{operation}")
        # the response to a HEAD has no body, so no code tells a wrong key from a missing right
        key = "; is the key right, and the clock of this machine?" if operation.startswith("Head") else ""
        return f": grant {right} to its login{key}"
    return next((f": {advice}" for codes, advice in _S3_ADVICE.items() if code in codes), "")


def _find_response(error: BaseException) -> Any:
    """Return the exception of botocore that holds the response; s3fs wraps it in an OSError."""
    return next(
        (cause for cause in walk_causes(error) if isinstance(getattr(cause, "response", None), dict)), None
    )


def explain_object_store(error: BaseException) -> VbcError | None:
    """Shorten the many lines of the library of Delta tables to the request and the reason."""
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


def explain_arrow_s3(error: BaseException) -> VbcError | None:
    """Explain an error of Arrow, which writes Iceberg tables; its text names bucket and key."""
    text = first_line(error)
    found = re.search(r"AWS Error (\w+).*? during (\w+) operation", text)
    if not found:
        return None
    named = re.search(r"ExceptionName: (\w+)", text)  # else the code as in ACCESS_DENIED
    code = named[1] if named else "".join(word.capitalize() for word in found[1].split("_"))
    return VbcError(f"{text.rstrip('.')}{_advise(code, found[2])} {_BUCKET_SETTINGS}")


def explain_address(error: ValueError) -> SettingsError | None:
    """Explain a malformed address, as the libraries of buckets report it; None for other values."""
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
