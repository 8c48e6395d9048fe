"""Decisions by a run's recorded policy: what should follow from its statuses. Pure."""
