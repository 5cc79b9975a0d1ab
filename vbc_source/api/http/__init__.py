"""Sending one request and reading its response: session, deadlines, rate limit, bodies, errors.

Knows no login and no endpoint; `client.Client` puts these together.
"""
