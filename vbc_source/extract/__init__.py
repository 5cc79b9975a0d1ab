"""Lists become windows that are proven complete, and the state that says how far each was read."""
