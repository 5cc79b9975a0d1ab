"""Archive audio from export jobs: many files in few requests."""
