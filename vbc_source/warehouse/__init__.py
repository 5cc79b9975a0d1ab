"""What is loaded, read back: queries, completeness, views."""
