"""The report in a real browser: it searches, sorts and points, and asks for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.local.test_local_runs import RUN, Here, here
from tests.support.browser import browser, complaints, require_browser, shown
from tests.support.site import until as wait_until

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

__all__ = ["here"]

HOSTILE = '<script>document.title="bad"</script>'


@pytest.fixture
def report(here: Here) -> Path:
    """The report of a run with a hostile value and a failure whose line is hostile too."""
    require_browser()
    made = here(
        *RUN, "--grid", f"n=1-9,{HOSTILE}", "--name", "x", "--shell",
        f"[ $SLICE_N != 7 ] || {{ echo 'ValueError: {HOSTILE}' >&2; exit 3; }}",
    )  # fmt: skip
    assert made.returncode == 1, made.stderr
    written = here("report", "x", "--html", "r.html")
    assert written.returncode == 0, written.stderr
    return here.folder / "r.html"


@pytest.fixture
def page(report: Path) -> Iterator[tuple[Chrome, set[str]]]:
    """The browser that shows it, and the addresses that it asked for."""
    with browser() as driver:
        yield driver, shown(driver, report)


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a change of the page."""
    wait_until(condition, what, deadline_s=15)


def texts(driver: Chrome, selector: str) -> list[str]:
    """Return the texts of the elements that a CSS selector finds."""
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    return list(driver.execute_script(script, selector))


def keys(driver: Chrome) -> list[str]:
    """Return the keys of the rows in view."""
    return texts(driver, "#rows tr:not(.space) td:first-child")


def test_search_sort_and_hover(page: tuple[Chrome, set[str]], report: Path) -> None:
    """And no error on the console; nothing but the file itself is loaded; text stays text."""
    driver, asked = page
    until(lambda: len(keys(driver)) == 10, "all rows")
    assert asked == {report.as_uri()}
    assert driver.title.startswith("x: ")
    assert f"n={HOSTILE}" in keys(driver)
    assert f"ValueError: {HOSTILE}" in "".join(texts(driver, ".card pre"))
    search = driver.find_element("id", "search")
    search.send_keys("n=7")
    until(lambda: keys(driver) == ["n=7"], "the row that was searched")
    search.clear()
    search.send_keys("exit 3")
    until(lambda: keys(driver) == ["n=7"], "the row with this reason")
    search.clear()
    search.send_keys(" ")
    until(lambda: len(keys(driver)) == 10, "all rows again")
    button = driver.find_element("css selector", "#heads button")
    button.click()
    button.click()
    until(lambda: keys(driver)[0] == "n=9", "the rows from the last to the first")
    choice = driver.find_element("id", "states")
    choice.send_keys("FAILED")
    until(lambda: keys(driver) == ["n=7"], "the failed row")
    from selenium.webdriver import ActionChains

    strip = driver.find_element("id", "strip")
    box = strip.rect
    left, top = 3 - int(box["width"] / 2), 3 - int(box["height"] / 2)
    ActionChains(driver).move_to_element_with_offset(strip, left, top).perform()
    until(lambda: texts(driver, "#tip")[0].startswith("n=1"), "the slice under the pointer")
    assert complaints(driver) == []


def test_without_a_script(report: Path) -> None:
    """Summary, groups, failed slices and charts are there."""
    with browser(script=False) as driver:
        driver.get(report.as_uri())
        said = driver.find_element("tag name", "body").text
    for word in ("9 of 10 slices done, 1 failed", "ValueError", "n=7", "Elapsed time", "script"):
        assert word in said


@pytest.mark.parametrize("width", [390, 1100])
def test_nothing_is_wider_than_the_window(report: Path, width: int) -> None:
    """On a phone too."""
    with browser(width=width) as driver:
        shown(driver, report)
        until(lambda: len(keys(driver)) == 10, "the table")
        page = "document.documentElement"
        assert driver.execute_script(f"return {page}.scrollWidth - {page}.clientWidth") <= 0
