"""The pages in a real browser: they say something, load nothing from anywhere else, and fit.

The browser is the one that is installed; nothing is downloaded. In continuous integration it has to
be there, elsewhere these tests are left out without it.
"""

import os
import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from e2e.test_first_look import Command, ports, put_sample

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
WIDTHS = {"desktop": 1280, "phone": 390}
PAGES = {
    "/": ("aiMindServe is running", "正在运行", "initial_admin_password"),
    "/docs": ("/api/v1/deployments", "/api/v1/workers", "schemas"),
    "/redoc": ("/api/v1/deployments",),
}


@pytest.fixture(scope="module")
def address(sample_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """What `make run` prints."""
    data = tmp_path_factory.mktemp("browser") / "data"
    put_sample(sample_model, data)
    words = ("quickstart", "--data-dir", str(data), "--host", "127.0.0.1", *ports())
    with Command(data.parent, *words) as running:
        said = running.wait_for("Serving; Ctrl-C stops everything.")
        found = re.search(r"http://127\.0\.0\.1:\d+", said)
        assert found is not None, said
        yield found.group()
        assert running.interrupt() == (0, [])


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        if os.environ.get("CI"):
            pytest.fail("no browser is installed: apt-get install chromium")
        pytest.skip("no browser is installed")
    with sync_playwright() as playwright:
        # No other name can be looked up: what is not ours could not load, and would be an error.
        alone = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
        started = playwright.chromium.launch(executable_path=program, args=[alone])
        yield started
        started.close()


@dataclass
class Seen:
    """What happened in one tab."""

    requests: list[str] = field(default_factory=list[str])
    failures: list[str] = field(default_factory=list[str])
    console: list[str] = field(default_factory=list[str])

    def listen(self, page: Page) -> None:
        page.on("request", lambda one: self.requests.append(one.url))
        page.on("requestfailed", lambda one: self.failures.append(f"{one.url}: {one.failure}"))
        page.on("console", lambda one: self.console.append(f"{one.type}: {one.text}"))
        page.on("pageerror", lambda one: self.console.append(f"thrown: {one}"))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("path", PAGES)
def test_a_page_is_useful_alone_and_fits(
    browser: Browser, address: str, tmp_path: Path, path: str, width: str
) -> None:
    seen = Seen()
    page = browser.new_page(viewport={"width": WIDTHS[width], "height": 900})
    try:
        seen.listen(page)
        answer = page.goto(address + path, wait_until="networkidle")
        page.screenshot(path=tmp_path / f"{width}.png", full_page=path == "/")
        assert answer is not None
        assert answer.status == 200
        text = page.inner_text("body")
        for words in PAGES[path]:
            assert words in text
        assert page.title()
        assert "`" not in text, "that is how code is written, not how it is shown"
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= WIDTHS[width], f"{wide} pixels need scrolling sideways"
    finally:
        page.close()
    assert (seen.console, seen.failures) == ([], [])
    assert {urlsplit(url).netloc for url in seen.requests} == {urlsplit(address).netloc}


@pytest.mark.timeout(300)
def test_every_link_leads_somewhere(browser: Browser, address: str) -> None:
    page = browser.new_page()
    try:
        for path in ("/", "/docs"):
            page.goto(address + path)
            links = page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)")
            assert links
            there = set(page.eval_on_selector_all("[id]", "all => all.map(one => one.id)"))
            for link in set(links):
                bare, _, anchor = str(link).partition("#")
                assert urlsplit(bare).netloc == urlsplit(address).netloc, link
                if anchor:
                    assert anchor in there, link
                else:
                    assert page.request.get(bare).status == 200, link
    finally:
        page.close()
