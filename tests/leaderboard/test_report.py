"""The page of figures: what it says, where its dots are, and that it stays one well-formed file."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import pandas as pd
import pytest

from conftest import ROOT
from sample_runs import METRICS, embedding, failure, run, standings, study
from scmobench.experiment import kept
from scmobench.leaderboard import write as board
from scmobench.leaderboard.figures import axis
from scmobench.leaderboard.report import PAGE, report_page
from scmobench.leaderboard.tables import TITLES, groups, heading, primary

VOID = {"meta"}


class Page(HTMLParser):
    """Elements as (name, attributes, text, parent); every end tag has to close the open one."""

    def __init__(self, text):
        super().__init__()
        self.open, self.found = [], []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_starttag(self, tag, attrs):
        element = {"tag": tag, "text": "", "in": self.open[-1] if self.open else None, **dict(attrs)}
        self.found.append(element)
        if tag not in VOID:
            self.open.append(element)

    def handle_endtag(self, tag):
        assert self.open.pop()["tag"] == tag

    def handle_data(self, data):
        for element in self.open:
            element["text"] += data

    def all(self, tag, css="", within=None):
        """Elements of a name and class, below another one."""
        named = (e for e in self.found if e["tag"] == tag and css in [*e.get("class", "").split(), ""])
        return [e for e in named if within is None or below(e, within)]


def below(element, other):
    while element is not None and element is not other:
        element = element["in"]
    return element is other


def page_of(runs, published=()):
    return report_page(standings(runs), METRICS, published)


def drawn(page, svg):
    """Name -> text of the value, position of its dot and ends of its line, in per cent; in their order."""
    found = {}
    for row in page.all("g", "row", svg):
        names = page.all("text", "m", row)
        if names:
            full = page.all("title", within=names[0])
            name = full[0]["text"] if full else names[0]["text"]
            dots = [float(e["cx"].rstrip("%")) for e in page.all("circle", within=row)]
            ends = [[float(e[x].rstrip("%")) for x in ("x1", "x2")] for e in page.all("line", within=row)]
            found[name] = (page.all("text", "v", row)[0]["text"], dots, ends)
    return found


def body(page):
    """Method -> column -> cell, of the page's only table."""
    header = [e["text"] for e in page.all("th") if e.get("scope") == "col"]
    names = [e for e in page.all("th") if e.get("scope") == "row"]
    cells = {e["text"]: [c["text"] for c in page.all("td", within=e["in"])] for e in names}
    assert all(len(row) == len(header) - 1 for row in cells.values())
    return {name: dict(zip(header[1:], row, strict=True)) for name, row in cells.items()}


@pytest.fixture(name="kept", scope="module")
def _kept():
    runs = kept.read([ROOT / "results" / "records"])
    if not runs:
        pytest.skip("no records are kept yet")
    return runs


@pytest.fixture(name="made", scope="module")
def _made(kept, tmp_path_factory):
    out = tmp_path_factory.mktemp("leaderboard")
    assert out / PAGE in board.leaderboard(kept, out)
    return out


def test_page_says_what_the_csv_says_and_draws_it_to_scale(made):
    text = (made / PAGE).read_text(encoding="utf-8")
    articles = iter(re.findall(r"<article>.*?</article>", text, flags=re.S))
    metrics = board.metric_metadata()
    for task in TITLES:
        table = pd.read_csv(made / f"{task}.csv", keep_default_na=False)
        table[["mean", "sd", "n"]] = table[["mean", "sd", "n"]].apply(pd.to_numeric)
        first = primary(metrics[task])
        for key, rows in groups(table):
            page = Page(next(articles))
            assert page.all("h4")[0]["text"] == key["subtask"]
            cells = body(page)
            for row in rows.to_dict("records"):
                check_cell(cells[row["method"]][heading(row["metric"], metrics[task])], row, first)
            figures = [drawn(page, svg) for svg in page.all("svg", "plot")]
            ranked = rows[(rows["metric"] == first)].set_index("method")
            assert set(ranked.index) == {name for shown in figures for name in shown}
            for shown in figures:
                assert all(cells[name][heading(first, metrics[task])] == shown[name][0] for name in shown)
                check_figure(shown, ranked, metrics[task][first]["direction"])
    assert next(articles, None) is None
    same = [
        (made / f"{task}.md").read_text(encoding="utf-8").count("the same scores, seed") for task in TITLES
    ]
    assert text.count("the same scores, seed") == sum(same) > 0


def check_cell(text, row, first):
    """Mean, ± sd where there are two seeds, and their number where the metric is the first or lacks seeds."""
    numbers = re.findall(r"-?\d[\d.]*(?:e-\d+)?", text.partition(" of ")[0])
    counted = row["metric"] == first or (row["reason"] and not row["applicable"])
    expected = [row["mean"], row["sd"], row["n"] if counted else float("nan")]
    expected = [] if pd.isna(row["mean"]) else [value for value in expected if pd.notna(value)]
    assert [float(n) for n in numbers] == pytest.approx(expected, abs=5.01e-5)
    assert expected or text in ("—", "n/a")


def check_figure(shown, ranked, direction):
    """Dots are a linear map of the means, lines reach from mean - sd to mean + sd, best first."""
    dots = {name: at[0] for name, (_, at, _) in shown.items() if at}
    means = ranked["mean"][list(dots)]
    assert all(means.notna())
    if len(set(dots.values())) < 2:
        return
    low, high = means.idxmin(), means.idxmax()
    width = dots[high] - dots[low]
    slope = width / (means[high] - means[low])
    for name, at in dots.items():
        assert at == pytest.approx(dots[low] + slope * (means[name] - means[low]), abs=0.02)
        (_, _, ends), sd = shown[name], ranked["sd"][name]
        assert len(ends) == pd.notna(sd)
        for left, right in ends:
            rounding = 0.02 + 0.02 * (right - left) / abs(width)  # positions have two decimals
            assert left == pytest.approx(max(0, at - slope * sd), abs=rounding)
            assert right == pytest.approx(min(100, at + slope * sd), abs=rounding)
    kind = (
        ranked.loc[list(dots), ["kind", "label_supervised", "applicable"]].astype(str).agg("|".join, axis=1)
    )
    for name in set(kind):
        track = [dots[m] for m in dots if kind[m] == name and not name.startswith("control")]
        assert track == sorted(track, reverse=direction == "max")


def test_page_is_one_well_formed_file_that_fits_a_phone(made):
    text = (made / PAGE).read_text(encoding="utf-8")
    page = Page(text)
    assert len(text.encode()) < 1.5e6
    assert page.all("html")[0]["lang"] == "en"
    assert any(e.get("name") == "viewport" for e in page.all("meta"))
    assert "prefers-color-scheme" in text
    assert not re.search(r"<(script|link|img|iframe)|\bsrc=|url\(|@import|https?:", text)
    ids = [e["id"] for e in page.found if "id" in e]
    assert len(ids) == len(set(ids))
    assert all(e.get("scope") for e in page.all("th"))
    for svg in page.all("svg"):
        assert svg["role"] == "img"
        assert {svg["aria-labelledby"], svg["aria-describedby"]} <= set(ids)
    links = {e["href"].replace("%2B", "+") for e in page.all("a") if e["href"].startswith("#")}
    assert links == {f"#{e['id']}" for e in page.all("section")}
    files = {e["href"] for e in page.all("a") if not e["href"].startswith("#")}
    assert files == {p.name for p in made.iterdir()} - {PAGE} - {f"published_{t}.csv" for t in TITLES}


def test_names_and_messages_are_escaped():
    runs = [run("<b>x", 0.5), run("a&b+<i>", 0.6), failure("<u>", message='"<script>" & more')]
    runs.append(run("y", {"rmse": 0.4, "mae": 'a "<reason>"'}, dataset='d"<d>', normalization={"GEX": "<n>"}))
    text = page_of(runs)
    page = Page(text)
    assert not {"u", "i", "script", "d", "n", "reason"} & {e["tag"] for e in page.found}
    assert "<b>x" not in text
    assert [e["text"] for e in page.all("code", within=page.all("article")[0])] == ["da7ada7ada7a"]
    assert "<b>x" in [e["text"] for e in page.all("th")]
    assert '<u>, seed 0: "<script>" & more' in [e["text"] for e in page.all("li")]
    assert [e["title"] for e in page.all("abbr")][-1] == 'mae: a "<reason>"'


def test_a_run_that_failed_or_is_missing_has_a_dash_and_no_dot(tmp_path):
    runs = [
        run("full", {"rmse": 0.5, "mae": 0.25}),
        run("without", {"rmse": 0.6}),
        run("cannot", {"rmse": 0.7, "mae": "too few cells"}),
        failure("broken", message="MemoryError"),
    ]
    page = Page(page_of(runs))
    cells = body(page)
    assert cells["without"]["MAE ↓"] == "—"
    assert cells["cannot"]["MAE ↓"] == "n/a"
    assert [e["title"] for e in page.all("abbr") if e["text"] == "n/a"] == ["mae: too few cells"]
    assert cells["broken"]["RMSE ↓"] == "—"
    assert not re.search(r"\d", "".join(cells["broken"].values()))
    shown = drawn(page, page.all("svg")[0])
    assert shown["broken"] == ("—", [], [])
    assert list(shown) == ["full", "without", "cannot", "broken"]
    assert "Failed runs (1)" in page.all("article")[0]["text"]
    again = [run("broken", 0.4, status="failed"), run("broken", 0.4, finished="2026-03-01")]
    board.leaderboard([*runs, *again], tmp_path)
    assert "Failed runs" not in (tmp_path / PAGE).read_text(encoding="utf-8")
    alone = Page(page_of([failure("broken", message="MemoryError")]))
    assert drawn(alone, alone.all("svg")[0]) == {"broken": ("—", [], [])}


def test_controls_stand_last_and_do_not_squash_the_methods():
    runs = [*study(), run("zeros", 900.0, kind="control", finished="2026-03-01")]
    page = Page(page_of(runs))
    svg = page.all("svg")[0]
    shown = drawn(page, svg)
    assert list(shown) == ["a", "b", "c", "worst", "solution", "mean", "zeros"]
    assert shown["zeros"] == ("900.0000 (1)", [], [])
    assert [e["text"] for e in page.all("text", "out", svg)] == ["▸"]
    assert page.all("figcaption")[0]["text"] == "◂ ▸ outside the axis: zeros."
    lines = [float(e["x1"].rstrip("%")) for e in page.all("line", "ref", svg)]
    assert lines == [shown[m][1][0] for m in ("solution", "mean")]
    assert shown["worst"][1][0] > 80, "the methods have the axis to themselves"
    assert "← better" in svg["text"]
    assert "better →" not in svg["text"]


def test_a_diverged_method_lies_outside_the_axis_and_the_best_never_does():
    def rows(*means):
        return [{"role": "method", "mean": mean, "sd": 0.001} for mean in means]

    for direction, sign in (("min", 1), ("max", -1)):
        scale = axis(rows(*(sign * m for m in (0.5, 0.51, 0.52, 0.6, 1e3, 1e6))), direction)
        assert scale.holds(sign * 0.5)
        assert scale.holds(sign * 0.6)
        assert not scale.holds(sign * 1e3)
        assert axis(rows(sign * 0.1, sign * 0.9, sign * 0.91, sign * 0.92), direction).holds(sign * 0.1)
    for means in ((0.5,), (0.0, 0.0), (0.06541, 0.06542), (-3.0, 4000.0)):
        scale = axis(rows(*means), "min")
        texts = [text for _, text in scale.ticks()]
        assert len(texts) == len(set(texts)) >= 2
        for value, text in scale.ticks():
            assert float(text.replace("−", "-")) == pytest.approx(value)
            assert scale.holds(value)


def test_ablations_are_folded_away_beside_their_method():
    runs = [run("scmognn", 0.5), run("knn", 0.6), run("scmognn+no_graph", 0.55), run("knn[k=2]", 0.4)]
    runs.append(run("scmognn+ensemble_seeds", 0.45, kind="ensemble"))
    page = Page(page_of(runs))
    methods, ablations = page.all("svg", "plot")
    assert list(drawn(page, methods)) == ["scmognn+ensemble_seeds", "scmognn", "knn"]
    assert list(drawn(page, ablations)) == ["knn[k=2]", "scmognn", "scmognn+no_graph", "knn"]
    marks = {float(e["x1"].rstrip("%")) for e in page.all("line", "ref", ablations)}
    assert marks == {drawn(page, ablations)[name][1][0] for name in ("scmognn", "knn")}
    assert [e["tag"] for e in page.all("details") if below(ablations, e)] == ["details"]
    assert not [e for e in page.all("details") if below(methods, e)]
    assert len(body(page)) == 5


def test_label_supervised_methods_have_a_block_and_a_rank_of_their_own():
    runs = [embedding("plain", 0.5), embedding("other", 0.4), embedding("part", 0.9, lacking=["nmi"])]
    runs += [embedding(name, value, label_supervised=True) for name, value in (("jae", 0.7), ("head", 0.6))]
    page = Page(page_of(runs))
    svg = page.all("svg")[0]
    rows = page.all("g", "row", svg)
    assert [r["text"] for r in rows if "h" in r["class"].split()] == ["Methods", "Label-supervised track"]
    order = [(r["class"], page.all("text", "k", r)[0]["text"]) for r in rows if page.all("text", "m", r)]
    assert order == [
        ("row method", "1"),
        ("row method", "2"),
        ("row method hollow", "–"),
        ("row supervised", "1"),
        ("row supervised", "2"),
    ]
    assert drawn(page, svg)["part"][0] == "0.9000 (1) of 5/6"
    assert "better →" in svg["text"]


def test_published_figures_are_a_link_and_nothing_else(tmp_path):
    board.leaderboard(
        [run("a", 0.39, dataset="neurips2021_cite_phase2", protocol="neurips2021-phase2")], tmp_path
    )
    text = (tmp_path / PAGE).read_text(encoding="utf-8")
    assert 'href="published_predict_modality.md"' in text
    assert "DANCE" in (tmp_path / "predict_modality.md").read_text(encoding="utf-8")
    assert "DANCE" not in text
    assert "published_" not in page_of([run("a", 0.39)])


def test_check_notices_a_stale_page(tmp_path):
    board.leaderboard(study(), tmp_path)
    assert tmp_path / PAGE in board.leaderboard(study(), tmp_path, check=True)
    assert not list(tmp_path.glob(".*")), "no half-written file stays"
    page = tmp_path / PAGE
    page.write_text(page.read_text(encoding="utf-8").replace("0.4000", "0.3999"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"index\.html on disk") as told:
        board.leaderboard(study(), tmp_path, check=True)
    assert "0.3999" in str(told.value)
    assert "0.3999" in page.read_text(encoding="utf-8"), "a check writes nothing"
    page.unlink()
    with pytest.raises(SystemExit, match=r"index\.html on disk"):
        board.leaderboard(study(), tmp_path, check=True)


def test_headings_name_the_metric_and_its_direction(made):
    page = Page((made / PAGE).read_text(encoding="utf-8"))
    columns = {e["text"] for e in page.all("th") if e.get("scope") == "col"}
    for about in board.metric_metadata().values():
        assert {heading(m, about) for m in about} <= columns
