"""Long scenarios on a cluster of their own. Each is a program; ``make scenario`` runs one."""
