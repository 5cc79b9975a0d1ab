"""The bucket with the files: a folder, S3, Google or Azure, opened with fsspec and dlt's credentials.

`Bucket` stores and reads objects; `local_files` and `s3` have what folders and S3 can do beyond fsspec.
"""

from vbc_source.audio.bucket.bucket import CHUNK_BYTES, Bucket
from vbc_source.audio.bucket.listings import FolderListings
from vbc_source.audio.bucket.objects import HEAD_BYTES, BucketFailed, Content, KeyTaken, ObjectLocked
from vbc_source.audio.bucket.s3 import S3Objects

__all__ = [
    "CHUNK_BYTES",
    "HEAD_BYTES",
    "Bucket",
    "BucketFailed",
    "Content",
    "FolderListings",
    "KeyTaken",
    "ObjectLocked",
    "S3Objects",
]
