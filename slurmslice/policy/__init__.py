"""What follows from the statuses of a run: decisions by its recorded policy. Pure."""
