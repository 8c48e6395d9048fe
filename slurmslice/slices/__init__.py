"""Slices: the slice table, keys and log names; ``sources`` reads them from what a person gives."""
