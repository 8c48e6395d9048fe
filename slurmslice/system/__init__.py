"""The operating system: files, locks, programs, users, escaping. Thin: no decisions."""
