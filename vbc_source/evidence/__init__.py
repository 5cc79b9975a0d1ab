"""The archive as evidence: verifies the chain of custody, and exports all about a call as a BagIt bag.

`chain` verifies, `export` writes the `bag` with what `call` reads.
"""
