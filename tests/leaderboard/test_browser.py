"""The page in a headless browser: no errors, no requests; it sorts, filters and explains its numbers."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from places import BROWSER, DRIVER, NO_BROWSER, ROOT

FOLDER = ROOT / "results" / "leaderboard"
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason=NO_BROWSER)


class Browser:
    """The committed page in Chromium, with what it asked of the network and what it complained of."""

    def __init__(self, folder: Path):
        from selenium import webdriver
        from selenium.webdriver.chrome.service import Service
        from selenium.webdriver.support.ui import WebDriverWait

        options = webdriver.ChromeOptions()
        options.binary_location = BROWSER
        for argument in ("headless=new", "disable-gpu", "disable-background-networking"):
            options.add_argument(f"--{argument}")
        options.add_argument(f"--user-data-dir={folder}")
        if hasattr(os, "geteuid") and os.geteuid() == 0:
            options.add_argument("--no-sandbox")  # Chromium has none for root
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        self.driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        self.wait = WebDriverWait(self.driver, 20, 0.05)

    def open(self, anchor: str = "", width: int = 1400) -> None:
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        self.driver.get("about:blank")
        self.driver.get((FOLDER / "index.html").as_uri() + anchor)
        begun = "return document.querySelector('[aria-selected=true]')?.checkVisibility()"
        self.wait.until(lambda _: self.js(begun))  # the driver may return before the page's script has run

    def js(self, code: str, *given):
        return self.driver.execute_script(code, *given)

    def texts(self, selector: str) -> list[str]:
        """Texts of what matches and is shown."""
        shown = "[...document.querySelectorAll(arguments[0])].filter(e => e.checkVisibility())"
        return self.js(f"return {shown}.map(e => e.innerText.trim())", selector)

    def click(self, selector: str, number: int = 0) -> None:
        self.js("document.querySelectorAll(arguments[0])[arguments[1]].click()", selector, number)

    def choose(self, selector: str, value) -> None:
        code = f"const e = document.querySelector(arguments[0]); e.{'checked' if value is True else 'value'}"
        code += " = arguments[1]; e.dispatchEvent(new Event('change', {bubbles: true}))"
        self.js(code, selector, value)


@pytest.fixture(name="browser", scope="module")
def _browser(tmp_path_factory):
    if not (FOLDER / "index.html").is_file():
        pytest.skip("no page is kept yet")
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    yield browser
    browser.driver.quit()


HEAT = "#predict_modality .heat"


def test_page_opens_without_errors_or_requests(browser):
    for anchor in ("", "#published", "#match_modality-mini_cite"):
        browser.open(anchor)
    assert not browser.driver.get_log("browser")
    events = [json.loads(entry["message"])["message"] for entry in browser.driver.get_log("performance")]
    sent = [e["params"] for e in events if e["method"] == "Network.requestWillBeSent"]
    own = [e for e in sent if e["documentURL"].startswith("file")]  # not of Chromium's first tab
    asked = {e["request"]["url"].partition("#")[0] for e in own}
    assert {url for url in asked if not url.startswith("data:")} == {(FOLDER / "index.html").as_uri()}


def test_first_screen_shows_the_summary_of_a_task(browser):
    browser.open()
    assert browser.texts("[aria-selected=true]") == ["Modality prediction"]
    box = browser.js(
        "const b = document.querySelector(arguments[0]).getBoundingClientRect(); return [b.top, b.bottom]",
        HEAT,
    )
    assert 0 < box[0] < 350
    assert box[1] < 900


def test_numbers_of_the_summary_equal_the_csv(browser):
    browser.open()
    table = pd.read_csv(FOLDER / "predict_modality.csv")
    known = table[(table["metric"] == "rmse") & (table["source"] != "published")]
    panels = browser.js(
        "const articles = [...document.querySelectorAll('#predict_modality article')];"
        "return Object.fromEntries(articles.map(a => [a.id,"
        " [a.parentElement.querySelector('code').textContent, a.querySelector('h5').textContent]]))"
    )
    tiles = browser.js(
        "return [...document.querySelectorAll(arguments[0])].map(b => [b.dataset.panel, b.dataset.method, "
        "b.querySelector('.score').textContent, b.querySelector('.scaled').textContent])",
        f"{HEAT} tbody button",
    )
    assert len(tiles) > 100
    for panel, method, text, scaled in tiles:
        dataset, title = panels[panel]
        same = known[(known["dataset"] == dataset) & (known["subtask"] == title.replace("→", "2"))]
        (row,) = same[same["method"] == method].to_dict("records")
        digits = len(text.partition(".")[2])
        assert float(text) == pytest.approx(row["mean"], abs=0.51 * 10**-digits if "e" not in text else 1e-5)
        if scaled != "—":
            assert float(scaled.replace("−", "-")) == pytest.approx(row["scaled"], abs=0.0051)


def test_sorting_changes_the_order_and_keeps_controls_below(browser):
    browser.open()
    names = browser.texts(f"{HEAT} tbody .name b")
    heads = browser.texts(f"{HEAT} thead tr:last-child th")
    head = f"{HEAT} thead tr:last-child th"
    for _ in range(2):
        browser.click(f"{head} .dt-column-order", len(heads) - 1)
        seen = browser.js(
            "return [...document.querySelectorAll(arguments[0])]"
            ".map(r => [r.className, r.lastElementChild.dataset.order])",
            f"{HEAT} tbody tr",
        )
        methods = [float(place) for kind, place in seen if "control" not in kind and place]
        descending = browser.js(
            "return document.querySelector(arguments[0]).getAttribute('aria-sort')", f"{HEAT} [aria-sort]"
        )
        assert methods == sorted(methods, reverse=descending == "descending")
        kinds = ["control" in kind for kind, _ in seen]
        assert kinds == sorted(kinds), "controls stay below"
    assert descending == "descending"
    assert browser.texts(f"{HEAT} tbody .name b") != names
    browser.click(f"{HEAT} thead .name .dt-column-order")
    first = browser.texts(f"{HEAT} tbody tr:not(.control) .name b")
    assert [name.split("+")[0] for name in first] == sorted(name.split("+")[0] for name in first)


def mean_ranks(sets: set[str], other: str) -> pd.Series:
    """Of the methods that have every column with this other modality: over directions, then data sets."""
    table = pd.read_csv(FOLDER / "predict_modality.csv")
    own = table["metric"].eq("rmse") & table["kind"].ne("control") & ~table["variant"]
    own &= table["dataset"].isin(sets) & table["subtask"].str.contains(other)
    wide = table[own].pivot(index="method", columns=["dataset", "subtask"], values="mean").dropna()
    assert wide.shape[0] > 5
    return wide.rank().T.groupby(level="dataset").mean().mean()


def test_filters_change_what_is_shown(browser):
    browser.open()
    form = "#predict_modality .filters"
    heads = browser.texts(f"{HEAT} thead tr:last-child th")
    browser.choose(f"{form} [name=pair]", "CITE-seq")
    cite = browser.texts(f"{HEAT} thead tr:last-child th")
    assert 0 < len(cite) < len(heads)
    assert not any("ATAC" in text for text in cite)
    methods, ranks = (browser.texts(f"{HEAT} tbody .name {of}") for of in ("b", "+ td"))
    told = dict(zip(methods, ranks, strict=True))
    sets = browser.js(f"return [...document.querySelectorAll('{HEAT} th[data-set]')].map(e => e.dataset.set)")
    expected = mean_ranks(set(sets), "ADT")
    assert [float(told[method]) for method in expected.index] == pytest.approx(list(expected), abs=0.051)
    shown = [rank for rank in told.values() if rank[:1].isdigit()]
    assert shown == sorted(shown, key=float)
    browser.choose(f"{form} [name=size]", "large")
    assert 0 < len(browser.texts(f"{HEAT} thead tr:last-child th")) < len(cite)
    assert browser.texts(f"{HEAT} thead a") == ["PBMC 10x"]
    score = browser.texts(f"{HEAT} tbody button")[0]
    browser.choose(f"{form} [name=show]", "rank")
    rank = browser.texts(f"{HEAT} tbody button")[0]
    assert rank.split()[0].isdigit()
    assert rank != score
    browser.open("#joint_embedding")
    rows = browser.texts("#joint_embedding .heat tbody tr .name b")
    browser.choose("#joint_embedding [name=free]", True)
    free = browser.texts("#joint_embedding .heat tbody tr .name b")
    assert set(rows) - set(free) >= {"jae", "scmognn"}
    assert "harmony" in free


def test_a_data_set_opens_and_its_table_sorts(browser):
    browser.open("#predict_modality-mini_cite")
    assert browser.js("return document.getElementById('predict_modality-mini_cite').open")
    browser.js("document.querySelector('#predict_modality-1 details.more').open = true")
    table = "#predict_modality-1 table"
    browser.driver.implicitly_wait(2)
    browser.driver.find_element("css selector", f"{table} .dt-column-order")
    before = browser.texts(f"{table} tbody .name")
    browser.click(f"{table} thead th .dt-column-order", len(browser.texts(f"{table} thead th")) - 3)
    after = browser.texts(f"{table} tbody .name")
    assert sorted(after) == sorted(before)
    assert after != before
    left = "getBoundingClientRect().left"
    frozen = "const c = document.querySelector(arguments[0]), s = c.closest('.scroll'); s.scrollLeft = 300; "
    frozen += f"return c.{left} - s.{left}"
    assert browser.js(frozen, f"{table} tbody .name") == pytest.approx(0, abs=2)


def test_a_number_tells_its_command_and_keys_work(browser):
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    browser.open()
    button = browser.driver.find_element(By.CSS_SELECTOR, f"{HEAT} tbody button[data-method=knn]")
    button.send_keys(Keys.ENTER)
    assert browser.texts("dialog h2") == ["knn"]
    command = browser.texts("dialog pre")[0]
    assert {"task=predict_modality", "dataset=mini_cite", "model=knn"} <= {*command.split()}
    assert "4e4bc7acbd97" in browser.texts("dialog dl")[0]
    browser.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": ["clipboardSanitizedWrite"]})
    copy = browser.driver.find_element(By.CSS_SELECTOR, "dialog h3 ~ button")
    copy.click()
    assert browser.wait.until(lambda _: copy.text == "Copied")
    assert browser.wait.until(lambda _: copy.text == "Copy")
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.texts("dialog h2")
    tab = browser.driver.find_element(By.CSS_SELECTOR, "[role=tab]")
    tab.send_keys(Keys.ARROW_RIGHT)
    browser.driver.implicitly_wait(2)
    browser.driver.find_element(By.CSS_SELECTOR, "#tab-match_modality[aria-selected=true]")
    assert browser.texts("h2")[0].startswith("Modality matching")


def test_frames_and_hatches_can_be_seen(browser):
    style = "const e = document.querySelector(arguments[0]); return getComputedStyle(e)[arguments[1]]"
    browser.open()
    ring = browser.js(style, f"{HEAT} td.leads button", "boxShadow")
    ink, ground = (browser.js(style, "body", name) for name in ("color", "backgroundColor"))
    assert ring == f"{ink} 0px 0px 0px 2px inset, {ground} 0px 0px 0px 3px inset"
    for place in (f"{HEAT} td.worse", "#predict_modality .legend .worse"):
        assert "gradient" in browser.js(style, place, "backgroundImage")


def test_the_summaries_fit_a_small_laptop_and_numbers_their_frames(browser):
    gap = "const of = (e, r) => { r.selectNodeContents(e); return r.getBoundingClientRect().left; };"
    gap += "return Math.min(...[...document.querySelectorAll(arguments[0])].map(b => of(b.querySelector("
    gap += "'.score'), document.createRange()) - b.getBoundingClientRect().left))"
    room = "const s = document.querySelector(arguments[0]); return s.scrollWidth - s.clientWidth"
    for task in ("predict_modality", "match_modality", "joint_embedding"):
        browser.open(f"#{task}", width=1280)
        assert browser.js(room, f"#{task} .scroll") == 0
        assert browser.js(gap, f"#{task} td.leads button") > 4
        assert browser.texts(f"#{task} caption .score")
        browser.choose(f"#{task} [name=show]", "rank")
        assert browser.texts(f"#{task} .heat caption span:not(.sr)") == ["Rank ↓"]


def test_the_plot_of_mean_ranks_has_room_on_paper(browser):
    browser.open(width=760)
    width = "return document.querySelector('#predict_modality .ranks svg').getBoundingClientRect().width"
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    assert browser.js(width) > 150
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    for room in (650, 1400):
        browser.open(width=room)
        assert browser.js(width) > 90


def test_nothing_but_tables_scrolls_sideways_on_a_phone(browser):
    browser.open(width=400)
    for anchor in ("#predict_modality-mini_cite", "#joint_embedding-pbmc10x_cite", "#published", "#about"):
        browser.js("location.hash = arguments[0]", anchor)
        browser.driver.implicitly_wait(2)
        browser.driver.find_element("css selector", f"[href='{anchor.split('-')[0]}'][aria-selected=true]")
        browser.js("document.querySelectorAll('details[open] details').forEach(d => { d.open = true; })")
        assert browser.js("return document.documentElement.scrollWidth") <= 400, anchor
