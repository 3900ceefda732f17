"""How heavy a report is to open: bytes, elements at load, and first paint in Chromium, over several cold loads.

Run it inside the environment of ``nox -s browser``: ``python -m bench.report_page reports/miniature/report.html``.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import median

from playwright.sync_api import sync_playwright

from tests.browser.conftest import CHROMIUM, FLAGS

PAINT = "performance.getEntriesByType('paint').find((one) => one.name === 'first-contentful-paint').startTime"


def measure(page: Path, loads: int) -> tuple[int, list[float]]:
    """Return how many elements a page has once loaded, and the first paint of each load in ms."""
    paints, elements = [], 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=list(FLAGS))
        for _ in range(loads):
            context = browser.new_context(offline=True, viewport={"width": 1440, "height": 900})
            opened = context.new_page()
            opened.goto(page.resolve().as_uri())
            opened.wait_for_function("performance.getEntriesByType('paint').length > 1")
            paints.append(opened.evaluate(PAINT))
            elements = opened.evaluate("document.querySelectorAll('*').length")
            context.close()
        browser.close()
    return elements, paints


def main() -> None:
    """Print a line a page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("pages", type=Path, nargs="+")
    asked.add_argument("--loads", type=int, default=7)
    given = asked.parse_args()
    for page in given.pages:
        elements, paints = measure(page, given.loads)
        spread = f"{min(paints):.0f} / {median(paints):.0f} / {max(paints):.0f} ms"
        print(f"{page}: {page.stat().st_size:,} bytes, {elements:,} elements, first paint {spread} (min/median/max)")


if __name__ == "__main__":
    main()
