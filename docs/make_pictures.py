"""Pictures of the console as a demo left it: `python docs/make_pictures.py DEMO_FOLDER PICTURES_FOLDER`.

A test makes them anew on every run and holds the committed ones to their names and sizes; to renew those,
play the demo and name `docs/pictures` here. Needs Playwright and the system's Chromium.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

WIDTH, HEIGHT = 1200, 760


def main(demo: Path, pictures: Path) -> list[Path]:
    """Open each page as the demo's auditor and keep what the window shows."""
    env = dict(re.findall(r"^export (\w+)=(\S+)$", (demo / "env").read_text(), re.MULTILINE))
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    pictures.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        context = browser.new_context(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page = context.new_page()
        page.goto(env["FREEHOLD_URL"] + "/log-in")
        page.fill("#key", (demo / "keys" / "ada.key").read_text().strip())
        page.click("main form button")
        page.wait_for_selector("form.who")
        made = [
            _shown(page, f"{env['FREEHOLD_URL']}/", pictures / "the-line.png"),
            _why(page, env["FREEHOLD_URL"], pictures / "why.png"),
            _verified(page, env["FREEHOLD_URL"], pictures / "ledger.png"),
        ]
        browser.close()
    return made


def _shown(page: Page, address: str, place: Path) -> Path:
    page.goto(address)
    page.wait_for_load_state("networkidle")
    page.screenshot(path=place)
    return place


def _why(page: Page, url: str, place: Path) -> Path:
    """The graph behind the newest answer that was given."""
    page.goto(f"{url}/answers")
    row = page.locator("tbody tr", has_text="answered").filter(has_text="inbox-triage")
    row.first.locator("a").first.click()
    page.locator("section[aria-labelledby=why]").screenshot(path=place)
    return place


def _verified(page: Page, url: str, place: Path) -> Path:
    page.goto(f"{url}/ledger/verify")
    page.wait_for_selector("#key-from:not(:empty)")
    page.click("#verify button")
    page.wait_for_selector(".verdict")
    page.screenshot(path=place)
    return place


if __name__ == "__main__":
    for one in main(Path(sys.argv[1]), Path(sys.argv[2])):
        print(one)
