"""The options that ``submit`` has alone, for an existing run and for a new one."""

from __future__ import annotations

import click

from slurmslice.cli.options.common import Decorator

only_option: Decorator = click.option(
    "--only",
    metavar="N|KEYS",
    help="Submit only the first N waiting slices, or these keys: 3-7 or 3,17. 5-5 is the slice 5.",
)

parsable_option: Decorator = click.option(
    "--parsable",
    is_flag=True,
    help="Print the id of each job that was submitted, one per line, and nothing else on stdout.",
)
