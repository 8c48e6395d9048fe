"""The durable state of a run: its directory, its journal and the statuses of its slices."""
