"""Output: notes, tables, previews, summaries and progress."""
