"""Reports about a run: its counts, records and estimates. Pure: nothing here prints."""
