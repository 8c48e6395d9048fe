"""A headless Chromium that shows one file, driven by ChromeDriver. It reaches no network."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.slurm_cluster import packages

if TYPE_CHECKING:
    from selenium.webdriver import Chrome

_PACKAGES = ("chromium", "chromium-driver")
_OPTIONS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--force-color-profile=srgb",
)  # fmt: skip


def require_browser() -> None:
    """Skip the test if there is no Chromium; install it if tools are required (Debian, root)."""
    if _is_there():
        return
    required = bool(os.environ.get("SLURMSLICE_REQUIRE_TOOLS"))
    if required and os.geteuid() == 0 and shutil.which("apt-get"):
        with packages.one_at_a_time():
            packages.apt_get("update")
            packages.apt_get("install", "-y", "--no-install-recommends", *_PACKAGES)
    if not _is_there():
        (pytest.fail if required else pytest.skip)("Chromium and ChromeDriver are not installed")


def _is_there() -> bool:
    return all(shutil.which(name) for name in ("chromium", "chromedriver"))


@contextmanager
def browser(*, width: int = 1100, script: bool = True, dark: bool = False) -> Iterator[Chrome]:
    """Start a browser with a window of this width, with or without JavaScript."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    with tempfile.TemporaryDirectory() as profile:
        sizes = (f"--window-size={width},900", f"--user-data-dir={profile}")
        for one in (*_OPTIONS, *sizes, *(["--force-dark-mode"] if dark else [])):
            options.add_argument(one)
        options.binary_location = shutil.which("chromium") or ""
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        if not script:
            setting = {"profile.managed_default_content_settings.javascript": 2}
            options.add_experimental_option("prefs", setting)
        driver = webdriver.Chrome(options, Service(shutil.which("chromedriver")))
        try:
            yield driver
        finally:
            driver.quit()


def shown(driver: Chrome, file: Path) -> set[str]:
    """Show a file, and return the addresses that were asked for, without the browser's own."""
    driver.get("about:blank")
    _log(driver, "performance")  # forget what the browser's own first page asked for
    driver.get(file.as_uri())
    sent = [json.loads(entry["message"])["message"] for entry in _log(driver, "performance")]
    asked = (one["params"] for one in sent if one["method"] == "Network.requestWillBeSent")
    urls = {str(one["request"]["url"]) for one in asked}
    return {url for url in urls if not url.startswith("chrome")}


def complaints(driver: Chrome) -> list[str]:
    """Return the errors and warnings on the console of the page."""
    return [str(entry["message"]) for entry in _log(driver, "browser")]


def _log(driver: Chrome, kind: str) -> list[dict[str, Any]]:
    return list(driver.get_log(kind))  # type: ignore[no-untyped-call]
