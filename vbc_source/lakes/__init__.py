"""Tables that are files in a bucket or folder: how they are read, and how they are kept small.

`tables` reads them; `plain_files`, `delta` and `iceberg` compact them; `swap` replaces files safely.
"""
