"""The gateway in front of the APIs, and the server that serves it.

Checks tokens, injects faults and logs requests before an endpoint is called.
"""
