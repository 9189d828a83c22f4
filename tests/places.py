"""Where things are that tests need: the checkout and, for the tests of the page, a browser."""

import shutil
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
DRIVER = shutil.which("chromedriver")
NO_BROWSER = "NO BROWSER FOUND: the page is not tested in one; install chromium and chromedriver"
