"""HTTP to one gateway: login, rate limit, retries, faults, and the endpoints of the APIs."""
