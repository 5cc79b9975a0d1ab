"""Check that the archive still holds what was stored: files against the ledger, day folders against both.

Every check is a row of `audio_checks`; what is damaged or missing can be fetched from VBC again.
"""
