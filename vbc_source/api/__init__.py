"""HTTP access to the VBC gateway: login, client, retries, rate limit, faults, endpoints, exports, downloads.

Knows no tables and no pipelines; the other folders send all of their requests through `client.Client`.
"""
