"""The `vbc` command: parses arguments and calls."""
