"""The script of a run: its template, its rendering, and the progress lines that it writes."""
