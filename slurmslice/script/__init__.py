"""The script of a run: how it is rendered, and the progress lines that it writes."""
