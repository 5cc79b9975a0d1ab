"""The right to erasure: finds every copy of a caller's recordings, and erases them."""
