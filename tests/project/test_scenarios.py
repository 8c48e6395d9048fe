"""The scenarios are not part of the tests: they may at least be started."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.scenarios import policies, steward_faults, unattended
from tests.support.paths import REPOSITORY


def test_the_cases_of_the_faults_can_be_chosen() -> None:
    """Options may follow them; an unknown one is refused; each case says what it plays."""
    assert steward_faults.parse(["folder"]).cases == []
    wish = steward_faults.parse(["folder", "killed", "--keep", "python-away"])
    assert (wish.folder, wish.cases, wish.keep) == ("folder", ["killed", "python-away"], True)
    with pytest.raises(SystemExit):
        steward_faults.parse(["folder", "no-such-case"])
    assert all(case.__doc__ for case in steward_faults.CASES.values())
    assert steward_faults.CASES.keys() > steward_faults.ALONE


def test_the_faults_name_the_file_of_the_site_that_is_replaced() -> None:
    """The scenario must not touch that of this machine."""
    source = REPOSITORY / "slurmslice" / "system" / "config_files.py"
    assert steward_faults.SITE_FILE in source.read_text()


def test_the_cases_of_the_policies_say_what_they_play() -> None:
    """A case that is not there is refused."""
    assert all(case.__doc__ for case in policies.CASES.values())
    with pytest.raises(SystemExit):
        policies.main(["folder", "no-such-case"])


def test_a_seed_deals_all_kinds_of_slices() -> None:
    """The same ones for the same seed, in another order for another."""
    dealt = unattended.deal(300, 1)
    assert dealt == unattended.deal(300, 1) != unattended.deal(300, 2)
    assert Counter(dealt.values()) >= Counter(unattended.SHARES)
