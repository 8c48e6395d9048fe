"""How fast slurmslice is: figures of programs that ran side by side. ``make bench`` runs them."""
