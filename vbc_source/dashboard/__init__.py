"""Web pages of figures from the models."""
