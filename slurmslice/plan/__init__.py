"""Plans: the submissions that would be made next. Nothing here submits."""
