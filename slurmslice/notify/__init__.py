"""The messages about the end of a run: by mail, and to a command of the person."""
