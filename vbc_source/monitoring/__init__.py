"""Whether it works: doctor, status, metrics."""
