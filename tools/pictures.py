"""Takes the pictures of the README and the site from a running demo: ``python -m tools.pictures``.

Needs a Chromium on this machine (``apt-get install chromium``); Playwright downloads none.
"""

import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal
from urllib.parse import urldefrag

from playwright.sync_api import Page, sync_playwright

FOLDER = Path("docs/pictures")
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
EVENTS = 12_000
#: Two cores at work may need long.
PATIENCE_MS = 120_000

#: File → view of the dashboard, and colour scheme.
PICTURES: dict[str, tuple[str, Literal["light", "dark"]]] = {
    "dashboard.png": ("overview", "light"),
    "dashboard-dark.png": ("overview", "dark"),
    "relationships.png": ("relationships", "light"),
    "map.png": ("map", "light"),
}


@contextmanager
def demo() -> Iterator[str]:
    """``kith demo``, once its verdict is there; yields the link to its dashboard. Raises RuntimeError when it ends
    before."""
    command = [sys.executable, "-m", "services.cli", "demo", "--events", str(EVENTS), "--rate", "4000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(r"dashboard\s+(http\S+)", line):
                yield found[1]
                break
        else:
            raise RuntimeError(f"the demo has ended with status {process.wait()} and without a dashboard")
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def take(page: Page, link: str, file: Path) -> None:
    """One picture of one view."""
    view, scheme = PICTURES[file.name]
    address, key = urldefrag(link)
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    page.goto(f"{address}?view={view}&period=90#{key}")
    page.locator("main svg:visible").first.wait_for(timeout=PATIENCE_MS)
    # What is still under way says so.
    page.wait_for_function("() => !document.querySelector('[aria-busy=true]')", timeout=PATIENCE_MS)
    page.wait_for_timeout(1_500)
    page.screenshot(path=file)


def main() -> None:
    """Replace the pictures."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if path is None:
        raise SystemExit("There is no Chromium on this machine: apt-get install chromium")
    FOLDER.mkdir(exist_ok=True)
    with demo() as link, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 860}, locale="en", timezone_id="UTC")
        for name in PICTURES:
            take(page, link, FOLDER / name)
            print(FOLDER / name)
        browser.close()


if __name__ == "__main__":
    main()
