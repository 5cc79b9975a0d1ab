"""Endpoints of the Call Recording, Provisioning and Reports APIs.

Each module with a `…Routes` class defines the endpoints of one resource.
"""
