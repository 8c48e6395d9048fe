"""Benchmarks of slurmslice and of rival programs. ``make bench`` runs them."""
