"""The destinations: subclasses of dlt's, in which the same responses of the API give the same rows.

`targets` chooses one by the settings; `VbcDuckDb`, `VbcPostgres` and `VbcFilesystem` have a module each.
"""

from vbc_source.load.destinations.targets import (
    DATABASE,
    DESTINATION,
    Target,
    choose_target,
    destination_kind,
    normalize_dataset,
    open_destination,
    read_lake_setting,
    use_tenant,
)

__all__ = [
    "DATABASE",
    "DESTINATION",
    "Target",
    "choose_target",
    "destination_kind",
    "normalize_dataset",
    "open_destination",
    "read_lake_setting",
    "use_tenant",
]
