"""The archive as evidence: verifies the chain of custody, and exports all about a call as a BagIt bag."""
