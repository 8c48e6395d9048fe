"""From evidence to the status of each slice. Pure."""
