"""Endpoints of the Call Recording and Provisioning APIs.

Each module with a ``…Routes`` class defines the endpoints of one resource.
"""
