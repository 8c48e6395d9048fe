"""Options of sbatch in one text, as a person types them: ``-p serial -A acct``. Pure."""

from __future__ import annotations

import shlex

from slurmslice.errors import BadInputError
from slurmslice.sbatch.options import check_conflicts, check_option, known_spellings
from slurmslice.sbatch.resource_request import ResourceRequest
from slurmslice.sbatch.script_reader import parse_option_words


def parse_typed_options(text: str) -> ResourceRequest:
    """Parse options of sbatch.

    Raises:
        BadInputError: sbatch does not take them, or a quote is not closed (``unclosed-quote``).
    """
    try:
        words = shlex.split(text)
    except ValueError as why:
        raise BadInputError(
            f"{text!r}: a quote is not closed.", code="unclosed-quote", value=text
        ) from why
    given = parse_option_words(words, known_spellings())
    options = [check_option(name, value) for name, value in given]
    check_conflicts(options)
    return ResourceRequest.of(options)
