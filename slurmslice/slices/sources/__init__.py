"""Readers of slices, one module per input form. Each turns a person's values into a table."""
