"""Tables that are files in a bucket or folder: how they are read, and how they are kept small."""
