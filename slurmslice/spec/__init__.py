"""The spec of a run: the command, its check, packing and options per slice. Pure."""
