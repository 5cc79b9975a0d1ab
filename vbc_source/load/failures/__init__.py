"""Failures: exceptions of dlt, databases and the system become one line that names what to change.

`reasons` finds the one that counts in a chain of exceptions; `settings`, `databases`, `buckets`, `system` and
`extras` explain one kind each.
"""

from vbc_source.load.failures.buckets import advise_s3, s3_code
from vbc_source.load.failures.causes import first_line
from vbc_source.load.failures.databases import DatabaseHeld
from vbc_source.load.failures.extras import EXTRAS, check_file_system, check_installed
from vbc_source.load.failures.reasons import explain, explaining
from vbc_source.load.failures.system import DISK_FULL

__all__ = [
    "DISK_FULL",
    "EXTRAS",
    "DatabaseHeld",
    "advise_s3",
    "check_file_system",
    "check_installed",
    "explain",
    "explaining",
    "first_line",
    "s3_code",
]
