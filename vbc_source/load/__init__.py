"""Loading into a destination: destinations, locks, the sync run, ledgers."""
