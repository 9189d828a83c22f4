"""Where things are that tests need: the checkout, the starter kit's files and a browser for the page."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
KIT = "openproblems_bmmc_cite_starter"
NO_BROWSER = "NO BROWSER FOUND: the page is not tested in one; install chromium and chromedriver"
