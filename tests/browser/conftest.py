"""The page of the committed miniature in Debian's Chromium, from disk and with the network off."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.cli.session import open_session
from reports.render import build

REPOSITORY = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
# What a browser without a screen needs as root, and what keeps it from asking for anything by itself.
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave these tests out where there is no browser; the session ``browser`` says what to install."""
    here = [item for item in items if Path(item.path).parent == Path(__file__).parent]
    absent = [
        name for name in ("playwright", "pypdf", "axe_playwright_python") if importlib.util.find_spec(name) is None
    ]
    absent += [] if CHROMIUM.is_file() else ["/usr/bin/chromium"]
    if absent:
        reason = f"no {', '.join(absent)} here: run `nox -s browser`"
        for item in here:
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session")
def report(tmp_path_factory) -> Path:
    """The report of the committed miniature, built anew beside its results."""
    root = tmp_path_factory.mktemp("browser")
    reports = root / "reports"
    reports.mkdir()
    for path in (REPOSITORY / "reports").glob("*.yaml"):
        shutil.copy(path, reports)
    (root / "results").symlink_to(REPOSITORY / "results")
    session = open_session("miniature")
    build(
        root / "results",
        reports,
        "miniature",
        parameters=session.parameters,
        families=session.families,
        methods={entry.name: entry.label for entry in session.registry.methods},
        tasks={entry.name: entry.label for entry in session.registry.tasks},
        terms={name: task.terms for name, task in session.plan.tasks.items() if task.terms is not None},
    )
    return reports / "miniature" / "report.html"


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """One Chromium for all tests."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        yield started
        started.close()


class Visit:
    """One page, with what it asked for and what it complained of."""

    def __init__(self, browser, report: Path, **options) -> None:
        self.context = browser.new_context(offline=True, accept_downloads=True, **options)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.asked: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(report.as_uri())


@pytest.fixture
def visit(browser, report):
    """Open the page with options of a browser context; every page is closed afterwards."""
    opened = []

    def open_page(**options) -> Visit:
        opened.append(Visit(browser, report, **{"viewport": {"width": 1440, "height": 900}, **options}))
        return opened[-1]

    yield open_page
    for one in opened:
        one.context.close()
