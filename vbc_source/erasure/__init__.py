"""The right to erasure: finds every copy of a caller's recordings, and erases them.

`forget` is the public function; `plan` says what forbids it, each other module knows copies of one kind.
"""
