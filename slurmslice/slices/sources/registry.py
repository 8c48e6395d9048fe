"""The input forms, in the order of the help text. A new form is one file, and one line here."""

from __future__ import annotations

from slurmslice.slices.sources.array_range import ARRAY_RANGE
from slurmslice.slices.sources.delimited_table import DELIMITED_TABLE
from slurmslice.slices.sources.file_paths import FILE_PATHS
from slurmslice.slices.sources.grid import GRID
from slurmslice.slices.sources.job_file import JOB_FILE
from slurmslice.slices.sources.key_list import KEY_LIST
from slurmslice.slices.sources.zip_lists import ZIP

FORMS = (
    ARRAY_RANGE,
    KEY_LIST,
    DELIMITED_TABLE,
    FILE_PATHS,
    GRID,
    ZIP,
    JOB_FILE,
)
