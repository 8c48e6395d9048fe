"""Slices: the slice table, keys and log names; ``sources`` reads slices from a person's input."""
