"""Reports about a run: its counts, records and estimates. Pure: nothing here prints.

A new report is a module here, and the verb that prints it in ``cli/commands``.
"""
