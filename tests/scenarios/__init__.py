"""Long scenarios on a cluster of their own. Each is a program; see ``make help``."""
