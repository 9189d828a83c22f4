"""The page: what it says, where its dots are, where its numbers come from, and that it stays one file."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from scipy import stats

from page_reader import Page, below, cells, rows
from places import ROOT
from sample_runs import METRICS, PUBLISHED, embedding, failure, page, render, run, standings, study
from scmobench.experiment import kept
from scmobench.experiment.code import without_places
from scmobench.experiment.config import compose, digest
from scmobench.experiment.plan import TRAINING_CHOICES, model_settings
from scmobench.leaderboard import write as board
from scmobench.leaderboard.axes import axis, costs
from scmobench.leaderboard.effects import effects
from scmobench.leaderboard.pages import TEMPLATES
from scmobench.leaderboard.panels import panels
from scmobench.leaderboard.provenance import command, overrides, provenance
from scmobench.leaderboard.published import read_published
from scmobench.leaderboard.readme import readme_section
from scmobench.leaderboard.report import PAGE, boards
from scmobench.leaderboard.roster import VARIANT
from scmobench.leaderboard.tables import TITLES, groups, heading, primary


def drawn(page, svg):
    """Name -> text of the value, position of its dot and ends of its thick line in per cent, in order."""
    found = {}
    for row in page.all("g", "row", svg):
        names = page.all("text", "m", row)
        if names:
            full = page.all("title", within=names[0])
            name = full[0]["text"] if full else names[0]["text"]
            dots = [float(e["cx"].rstrip("%")) for e in page.all("circle", within=row)]
            thick = [e for e in page.all("line", within=row) if e.get("class") != "ci"]
            ends = [[float(e[x].rstrip("%")) for x in ("x1", "x2")] for e in thick]
            found[name] = (page.all("text", "v", row)[0]["text"], dots, ends)
    return found


def plots(page):
    """The forest plots and effects of a page, in order."""
    return [svg for article in page.all("article") for svg in page.all("svg", "plot", article)]


def heat(page):
    """Method -> texts of its tiles, of the first summary."""
    table = page.all("table", "heat")[0]
    found = {}
    for row in page.all("tr", within=page.all("tbody", within=table)[0]):
        name = page.all("b", within=row)[0]["text"]
        tiles = [page.all("span", "score", e) for e in page.all("td", within=row)[3:]]
        found[name] = [tile[0]["text"] if tile else "—" for tile in tiles]
    return found


@pytest.fixture(name="kept", scope="module")
def _kept():
    runs = kept.read([ROOT / "results" / "records"])
    if not runs:
        pytest.skip("no records are kept yet")
    return runs


@pytest.fixture(name="made", scope="module")
def _made():
    """The committed tables: `test_committed_tables_are_current` holds them to what is made of the records."""
    made = ROOT / "results" / "leaderboard"
    if not (made / PAGE).is_file():
        pytest.skip("no page is kept yet")
    return made


@pytest.fixture(name="whole", scope="module")
def _whole(made):
    return Page((made / PAGE).read_text(encoding="utf-8"))


def test_page_says_what_the_csv_says_and_draws_it_to_scale(made, whole):
    articles = {e["id"]: e for e in whole.all("article")}
    metrics = board.metric_metadata()
    everything = pd.concat(pd.read_csv(made / f"{task}.csv", keep_default_na=False) for task in TITLES)
    everything[["mean", "sd", "n"]] = everything[["mean", "sd", "n"]].apply(pd.to_numeric)
    for task in TITLES:
        table, first = everything[everything["task"] == task], primary(metrics[task])
        number = 0
        for key, part in groups(table):
            varied = part["method"].str.contains(VARIANT) & (part["kind"] == "method")
            main = part[~(varied & part["method"].str.split(VARIANT).str[0].isin(part["method"]))]
            scored = part.loc[part["metric"] == first, "mean"].notna()
            if key["subtask"] == "Overall" and scored.mean() < 0.5:
                continue
            number += 1
            article = articles.pop(f"{task}-{number}")
            header, *lines = rows(whole.all("table", "numbers", article)[0])
            texts = {line[0]: dict(zip(header, line, strict=True)) for line in lines}
            assert set(texts) == set(main["method"])
            for row in main.to_dict("records"):
                check_cell(texts[row["method"]][heading(row["metric"], metrics[task])], row, first)
            forest = drawn(whole, whole.all("svg", "plot", article)[0])
            ranked = main[main["metric"] == first].set_index("method")
            assert set(forest) == set(ranked.index)
            assert all(texts[name][heading(first, metrics[task])] == forest[name][0] for name in forest)
            check_figure(forest, ranked, metrics[task][first]["direction"])
    assert not articles


def check_cell(text, row, first):
    """Mean, ± sd where there are two seeds, and their number where the metric is the first or lacks seeds."""
    numbers = re.findall(r"-?\d[\d.]*(?:e-\d+)?", text.partition(" of ")[0])
    counted = row["metric"] == first or (row["reason"] and not row["applicable"])
    expected = [row["mean"], row["sd"], row["n"] if counted else float("nan")]
    expected = [] if pd.isna(row["mean"]) else [value for value in expected if pd.notna(value)]
    for shown, value in zip(numbers, expected, strict=True):
        decimals = len(shown.partition(".")[2]) if shown != "0" else 5
        assert float(shown) == pytest.approx(value, abs=0.501 * 10.0**-decimals)
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
    methods = ranked.loc[list(dots)].query("kind != 'control'")
    for _, track in methods.groupby(["label_supervised", methods["applicable"].astype(str)]):
        places = [dots[m] for m in track.index]
        assert places == sorted(places, reverse=direction == "max")


def test_page_is_one_well_formed_file(made, whole):
    assert len(whole.text.encode()) < 5e6
    assert whole.all("html")[0]["lang"] == "en"
    assert any(e.get("name") == "viewport" for e in whole.all("meta"))
    assert "prefers-color-scheme" in whole.text
    outside = re.sub(r"<script.*?</script>", "", whole.text, flags=re.S)
    assert not re.search(r"<(link|iframe)|\bsrc=\"(?!data:)|url\(|@import|https?:", outside)
    ids = [e["id"] for e in whole.found if "id" in e]
    assert len(ids) == len(set(ids))
    assert all(e.get("scope") for e in whole.all("th"))
    assert len(whole.all("caption")) == len(whole.all("table"))
    for svg in whole.all("svg"):
        if svg.get("class") != "front":
            assert svg["role"] == "img"
            assert {svg["aria-labelledby"], svg["aria-describedby"]} <= set(ids)
    links = {e["href"].replace("%2B", "+") for e in whole.all("a") if e["href"].startswith("#")}
    assert links <= {f"#{name}" for name in ids}
    files = {e["href"] for e in whole.all("a") if not e["href"].startswith("#")}
    assert files == {p.name for p in made.glob("*.csv")} | {"../methods.md"}


def test_names_and_messages_are_escaped():
    runs = [run("<b>x", 0.5), run("a&b+<i>", 0.6), failure("<u>", message='"<script>" & more')]
    runs.append(run("y", {"rmse": 0.4, "mae": 'a "<reason>"'}, dataset='d"<d>', normalization={"GEX": "<n>"}))
    shown = page(runs)
    assert not {"u", "d", "n", "reason"} & {e["tag"] for e in shown.found}
    assert len(shown.all("script")) == 2
    assert "<b>x" not in shown.text
    assert "da7ada7ada7a" in [e["text"] for e in shown.all("code", within=shown.all("article")[0])]
    assert "<b>x" in [e["text"] for e in shown.all("th")]
    assert '<u>, seed 0: "<script>" & more' in [e["text"] for e in shown.all("li")]
    assert [e["title"] for e in shown.all("abbr")][-1] == 'mae: a "<reason>"'


def test_a_run_that_failed_or_is_missing_has_no_number_and_no_dot():
    runs = [
        run("full", {"rmse": 0.5, "mae": 0.25}),
        run("without", {"rmse": 0.6}),
        run("cannot", {"rmse": 0.7, "mae": "too few cells"}),
        failure("broken", message="MemoryError: no room\nat all"),
    ]
    shown = page(runs)
    assert cells(shown, "without")["MAE ↓"] == "—"
    assert cells(shown, "cannot")["MAE ↓"] == "n/a"
    assert [e["title"] for e in shown.all("abbr") if e["text"] == "n/a"] == ["mae: too few cells"]
    assert cells(shown, "broken")["RMSE ↓"] == "failed"
    assert not re.search(r"\d", "".join(cells(shown, "broken").values()))
    assert heat(shown)["broken"] == ["failed"]
    forest = drawn(shown, plots(shown)[0])
    assert forest["broken"] == ("failed", [], [])
    assert list(forest) == ["full", "without", "cannot", "broken"]
    assert "Failed runs (1)" in shown.all("article")[0]["text"]
    assert "broken, seed 0: MemoryError: no room at all" in shown.all("article")[0]["text"]
    alone = page([failure("broken", message="MemoryError")])
    assert drawn(alone, plots(alone)[0]) == {"broken": ("failed", [], [])}


def test_controls_stand_last_and_do_not_squash_the_methods():
    shown = page([*study(), run("zeros", 900.0, kind="control", finished="2026-03-01")])
    svg = plots(shown)[0]
    forest = drawn(shown, svg)
    assert list(forest) == ["a", "b", "c", "worst", "solution", "mean", "zeros"]
    assert forest["zeros"] == ("900.0 (1)", [], [])
    assert [e["text"] for e in shown.all("text", "out", svg)] == ["▸"]
    told = " ".join(shown.all("figcaption", within=shown.all("article")[0])[0]["text"].split())
    assert "Thin line: 95 % interval" in told
    assert told.endswith("Dotted lines (controls): solution, mean. ◂ ▸ outside the axis: zeros.")
    lines = [float(e["x1"].rstrip("%")) for e in shown.all("line", "ref", svg)]
    assert lines == [forest[m][1][0] for m in ("solution", "mean")]
    assert forest["worst"][1][0] > 80, "the methods have the axis to themselves"
    assert "← better" in svg["text"]
    assert "better →" not in svg["text"]
    assert list(heat(shown)) == ["a", "b", "c", "worst", "mean", "solution", "zeros"]


def test_a_diverged_method_lies_outside_the_axis_and_the_best_never_does():
    def drawn_rows(*means):
        return [{"role": "method", "mean": mean, "sd": 0.001} for mean in means]

    for direction, sign in (("min", 1), ("max", -1)):
        scale = axis(drawn_rows(*(sign * m for m in (0.5, 0.51, 0.52, 0.6, 1e3, 1e6))), direction)
        assert scale.holds(sign * 0.5)
        assert scale.holds(sign * 0.6)
        assert not scale.holds(sign * 1e3)
        assert axis(drawn_rows(sign * 0.1, sign * 0.9, sign * 0.91, sign * 0.92), direction).holds(sign * 0.1)
    for means in ((0.5,), (0.0, 0.0), (0.06541, 0.06542), (-3.0, 4000.0)):
        scale = axis(drawn_rows(*means), "min")
        texts = [text for _, text in scale.ticks()]
        assert len(texts) == len(set(texts)) >= 2
        for value, text in scale.ticks():
            assert float(text.replace("−", "-")) == pytest.approx(value)
            assert scale.holds(value)


def test_intervals_of_what_is_on_the_axis_are_on_it():
    runs = [run(m, v, interval={"rmse": [v - w, v + w]}) for m, v, w in (("a", 0.3, 0.2), ("b", 0.32, 0.01))]
    runs.append(run("near", 0.45, kind="control", interval={"rmse": [0.4, 0.9]}))
    shown = page([*runs, run("far", 9.0, kind="control", interval={"rmse": [8.0, 10.0]})])
    svg = plots(shown)[0]
    ends = [[float(e[x].rstrip("%")) for x in ("x1", "x2")] for e in shown.all("line", "ci", svg)]
    (a, b, near), dots = ends, [at[0] for _, at, _ in drawn(shown, svg).values() if at]
    unit = (dots[1] - dots[0]) / 0.02
    assert (b[1] - b[0]) / unit == pytest.approx(0.02, abs=1e-3)
    assert (a[1] - a[0]) / unit == pytest.approx(0.4, abs=5e-3)
    assert (near[1] - near[0]) / unit == pytest.approx(0.5, abs=5e-3)
    bare = page([embedding(m, v) for m, v in (("a", 0.5), ("b", 0.6))], "joint_embedding")
    assert not any("Thin line" in e["text"] or "Dotted" in e["text"] for e in bare.all("figcaption"))


def test_marks_of_methods_are_shown_and_explained():
    runs = [run("plain", 0.1), run("seeing", 0.2, transductive=True)]
    runs.append(run("both", 0.3, transductive=True, label_supervised=True))
    runs.append(run("solution", 0.0, kind="control", transductive=True, label_supervised=True))
    files = render(runs)
    names = ["plain", "seeing (T)", "both (T, L)"]
    shown = Page(files["index.html"])
    heads = [e["text"].strip() for e in shown.all("th", "name", shown.all("table", "heat")[0])]
    assert heads == ["Method", *names, "solutionControl: the answer itself"]
    told = "(T) sees the inputs, not the answers, of test cells. (L) uses labels of training cells."
    places = [shown.all("p", "legend")[1]["text"], readme_section(boards(standings(runs), METRICS))]
    for text in [*places, files["README.md"], files["summary-light.svg"]]:
        assert told in text
    for text in (places[1], files["README.md"]):
        assert all(f"| {name} |" in text for name in names)
    assert all(f">{name}<" in files["summary-dark.svg"] for name in names)
    assert "(T)" not in render([run("plain", 0.1)])["README.md"]


def test_the_summary_names_its_metric_and_what_its_tests_pair():
    for task, runs, metric, pairs in (
        ("predict_modality", [run("a", 0.5)], "RMSE ↓", "the same seeds and the same test cells."),
        ("joint_embedding", [embedding("a", 0.5)], "Mean ↑", "seeds only."),
    ):
        shown = page(runs, task)
        caption = shown.all("caption")[0]
        assert shown.all("span", "score", caption)[0]["text"] == f"{metric}, mean over seeds"
        assert f"The tests pair {pairs}" in shown.all("p", "legend")[1]["text"]


def test_ablations_are_effects_paired_over_seeds_and_no_rows():
    base, varied = (0.5, 0.6, 0.55), (0.53, 0.61, 0.59, 9.0)
    runs = [run("scmognn", v, seed) for seed, v in enumerate(base)]
    runs += [run("scmognn+layers_1", v, seed) for seed, v in enumerate(varied)]
    runs += [run("knn", 0.6), run("knn[k=2]", 0.4), run("scmognn+ensemble_seeds", 0.45, kind="ensemble")]
    shown = page(runs)
    assert list(heat(shown)) == ["scmognn+ensemble_seeds", "scmognn", "knn"]
    methods, effect = plots(shown)
    assert list(drawn(shown, methods)) == ["scmognn+ensemble_seeds", "scmognn", "knn"]
    assert list(drawn(shown, effect)) == ["knn[k=2]", "scmognn+layers_1"]
    assert "1 layer" in shown.all("dl", "about")[0]["text"]
    (panel,) = panels(standings(runs), METRICS["predict_modality"], "predict_modality")
    single, several = effects(panel)
    assert (single.mean, single.n, single.text) == (pytest.approx(-0.2), 1, "−0.20 (1)")
    squares = [b**2 - a**2 for a, b in zip(base, varied, strict=False)]  # an RMSE is tested by its squares
    bounds = stats.t.interval(0.95, 2, loc=np.mean(squares), scale=stats.sem(squares))
    roots = sum(np.mean(np.square(values[:3])) ** 0.5 for values in (base, varied))
    bounds = [bound / roots for bound in bounds]
    assert (several.low, several.high) == pytest.approx(bounds)
    assert (several.mean, several.n, several.sure) == (pytest.approx(np.mean(squares) / roots), 3, "")
    surer = [*runs[:3], *(run("scmognn+layers_1", 0.9 + seed / 10, seed) for seed in range(3))]
    (panel,) = panels(standings(surer), METRICS["predict_modality"], "predict_modality")
    assert [e.sure for e in effects(panel)] == ["worse"]


def test_an_ablation_without_its_method_is_a_row():
    shown = page([run("scmognn+layers_1[smoke]", 0.5)])
    assert list(heat(shown)) == ["scmognn+layers_1[smoke]"]
    assert len(plots(shown)) == 1


def test_label_supervised_methods_have_a_block_and_a_rank_of_their_own():
    runs = [embedding("part", value, ["nmi"], seed=seed) for seed, value in enumerate((0.9, 0.91, 0.92))]
    for name, value in (("plain", 0.5), ("other", 0.4), ("jae", 0.7), ("head", 0.6)):
        more = {"label_supervised": name in ("jae", "head")}
        runs += [embedding(name, value * (1 + seed**2 / 100), seed=seed, **more) for seed in range(3)]
    shown = page(runs, "joint_embedding")
    svg = plots(shown)[0]
    rows = shown.all("g", "row", svg)
    assert [r["text"] for r in rows if "h" in r["class"].split()] == ["Methods", "Label-supervised track"]
    order = [(r["class"], shown.all("text", "k", r)[0]["text"]) for r in rows if shown.all("text", "m", r)]
    assert order == [
        ("row method leads", "1"),
        ("row method", "2"),
        ("row method hollow", "–"),
        ("row supervised leads", "1"),
        ("row supervised", "2"),
    ]
    assert drawn(shown, svg)["part"][0] == "0.910 ± 0.010 (3) of 5/6"
    assert heat(shown)["part"] == ["0.9105/6"]
    assert [e["title"] for e in shown.all("sup") if e.get("title")] == ["mean: without nmi"]
    assert "5/6: mean of fewer metrics than the others" in shown.all("p", "legend")[1]["text"]
    assert any("mean of 6" in e["text"] for e in shown.all("th"))
    assert "better →" in svg["text"]
    assert [e["name"] for e in shown.all("input")] == ["free"]
    assert not page([run("a", 0.5)]).all("input")


def test_mean_ranks_are_drawn_with_half_a_critical_difference_to_each_side():
    sets = [f"set{n}" for n in range(6)]
    runs = [run(m, v, dataset=d) for d in sets for m, v in (("a", 0.1), ("b", 0.2), ("c", 0.3), ("d", 0.4))]
    runs += [run("some", 0.01, dataset=d) for d in sets[:5]]
    shown = page(runs)
    svg = next(e for e in shown.all("svg", "plot") if not any(below(e, a) for a in shown.all("article")))
    found = drawn(shown, svg)
    assert list(found) == ["Methods", "a", "b", "c", "d"]
    del found["Methods"]
    assert [text.split(" · ")[0] for text, *_ in found.values()] == ["1.0", "2.0", "3.0", "4.0"]
    assert found["a"][0] == "1.0 · a", "one seed makes no win"
    places = [dots[0] for _, dots, _ in found.values()]
    unit = places[1] - places[0]
    q = stats.studentized_range.ppf(0.95, 4, float("inf")) / 2**0.5
    half = q * (4 * 5 / (6 * 6)) ** 0.5 / 2
    (left, right) = found["c"][2][0]
    assert (right - left) / 2 == pytest.approx(half * unit, abs=0.02)
    assert "no mean rank without set5 GEX2ADT" in [e.get("title") for e in shown.all("abbr")]
    told = " ".join(shown.all("p", "verdict")[0]["text"].split())
    assert told == (
        "a has the best mean rank, 1.0, then b (2.0) and c (3.0). Across 6 data sets, the test does not "
        "separate the best method from the next one."
    )


def test_differences_have_a_unit():
    (head,) = page([run("a", 0.1), run("b", 0.2)]).all("h3", "sets")
    assert head["text"].endswith("; differences are in RMSE")


def test_the_headline_says_what_is_shared_and_what_is_not_significant():
    order = {"one": (1, 2, 3), "two": (2, 1, 3), "three": (1, 2, 3), "four": (2, 1, 3)}
    runs = [
        run(m, rank / 10 + seed**2 / 1000, seed, dataset=name, data_hash=f"da7a{name}")
        for name, ranks in order.items()
        for m, rank in zip("abc", ranks, strict=True)
        for seed in range(3)
    ]
    told = " ".join(page(runs).all("p", "verdict")[0]["text"].split())
    assert told.startswith(
        "a and b share the best mean rank, 1.5, then c (3.0). The ranks differ across 4 data sets "
        "(Friedman p = 0.05), but the test separates no method from the best."
    )
    assert told.endswith(" a is among the best in 2 of the 4 tested columns, b in 2 of 4 and c in 0 of 4.")


def test_what_a_user_adds_is_in_the_summary_and_what_the_suite_has_too_little_of_is_named():
    suite = ("svd_linear", "knn", "ls_lab", "scmognn", "guanlab_krr")
    runs = [run(m, 0.1, dataset=d) for d in ("mini_cite", "pbmc10x_cite") for m in suite]
    runs += [run("knn", 0.2, dataset="mine"), run("mine", 0.3, dataset="mini_cite")]
    runs += [run("knn", 0.2, dataset="synthetic_cite"), run("babel_like", 0.2, dataset="mini_cite")]
    runs += [run("knn[smoke]", 0.2, dataset="mine", data_hash="beef" * 16, n_train=170)]
    shown = page(runs)
    (table,) = shown.all("table", "heat")
    told = " ".join(table["text"].split())
    assert "mine100 to 200 cells" in told
    assert "GEX→ADT, data da7ada" in told.replace("→ ", "→")
    assert "babel_like" not in told
    assert "synthetic" not in told
    assert [row["text"] for row in shown.all("th", "name") if below(row, table)][-1].startswith("mine")
    left_out = [
        " ".join(p["text"].split()) for p in shown.all("p", "about") if "not in the table" in p["text"]
    ]
    assert left_out == [
        "These methods are not in the table, because they were run on fewer than half of its columns: "
        "babel_like.",
        "These data are not in the table, because fewer than half as many methods were run on them: mine "
        "GEX→ADT, data beefbe, Simulated GEX→ADT.",
    ]


def test_a_row_comes_from_the_runs_of_its_own_settings():
    runs = [run("a", 0.1, seed, config_hash="0" * 12) for seed in range(3)]
    runs += [run("a", 0.3, seed, config_hash="1" * 12) for seed in range(2)]
    found = provenance(runs, boards(standings(runs), METRICS)["predict_modality"][0])["runs"]
    assert {name: told["seeds"] for name, told in found["predict_modality-1"].items()} == {
        "a": [0, 1, 2],
        "a #111111": [0, 1],
    }


def test_a_leader_without_a_test_has_no_frame_and_says_so():
    runs = [run(m, value + seed / 100, seed) for m, value in (("a", 0.1), ("b", 0.2)) for seed in range(2)]
    shown = page(runs)
    assert "a has the best mean, untested (2 seeds)." in shown.all("article")[0]["text"]
    assert not [e for e in shown.all("td") if "leads" in e.get("class", "")]
    assert "among the leaders" not in shown.all("p", "verdict")[0]["text"]
    assert "**" not in readme_section(boards(standings(runs), METRICS)).split("|", 1)[1]
    tested = [run(m, v + seed**2 / 100, seed) for m, v in (("a", 0.1), ("b", 0.2)) for seed in range(3)]
    shown = page(tested)
    told = "a leads. Next is b, 0.099 behind the best (95 % interval 0.069 to 0.13, over 3 seeds)."
    assert told in shown.all("article")[0]["text"]
    assert len([e for e in shown.all("td") if "leads" in e.get("class", "")]) == 1


def test_methods_below_the_best_control_are_named():
    control = [run("mean", 0.3, kind="control"), run("zeros", 0.9, kind="control")]
    runs = [run("a", 0.1), run("b", 0.4), *control]
    assert "Worse mean than the control “mean”: b." in page(runs).all("article")[0]["text"]
    many = [*runs, *(run(f"m{n}", 0.5) for n in range(4))]
    assert "5 of 6 methods have a worse mean than the control “mean”." in page(many).all("article")[0]["text"]
    assert "the control mean" not in page(runs[:1] + control).all("article")[0]["text"]


def test_the_zero_point_is_told_in_the_same_words_everywhere():
    files = render(study())
    words = TEMPLATES.get_template("words.jinja").module.scaled["predict_modality"]
    legend = " ".join(Page(files["index.html"]).all("p", "legend")[1]["text"].split())
    assert legend.count(words.replace("`", "")) == 1
    assert words in files["README.md"]
    assert "the best control that reads no test cell" in words
    assert "the best control that reads no test cell" in files["summary-dark.svg"]
    assert not any("trivial control" in text for text in files.values())


def test_the_front_of_costs_by_hand():
    rows = [
        {"method": m, "role": "method", "mean": score, "sd": 0.0, "seconds": seconds}
        for m, score, seconds in (("slow", 0.1, 100), ("fast", 0.5, 1), ("beaten", 0.6, 2), ("mid", 0.3, 10))
    ]
    rows += [{"method": "free", "role": "control", "mean": 0.0, "sd": 0.0, "seconds": 0.1}]
    found = costs(rows, "seconds", "min")
    assert [row["method"] for row in found.front] == ["fast", "mid", "slow"]
    assert {row["method"] for row in found.rows} == {"slow", "fast", "beaten", "mid"}
    assert [row["method"] for row in costs(rows, "seconds", "max").front] == ["fast", "beaten"]
    places = [found.at(row)[0] for row in found.front]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1]), "a logarithmic axis"
    assert costs(rows[:1], "seconds", "min") is None
    assert [row["method"] for row, *_ in found.tags("short")] == ["slow", "mid", "fast"]
    sides = [{row["method"]: dy for row, _, _, dy in found.tags(title)} for title in ("", 60 * "x")]
    assert (sides[0]["slow"], sides[1]["slow"]) == (-7, 15), "below its dot where the title is above"


def test_a_mean_over_subtasks_that_few_have_is_not_shown():
    def half(method, dataset, subtask, lacking=()):
        return embedding(method, 0.5, lacking, dataset=dataset, data_hash=dataset) | {"subtask": subtask}

    cite, multiome = ("kit_cite", "GEX-ADT"), ("kit_multiome", "GEX-ATAC")
    runs = [half(name, *of, ["nmi"] if name == "c" else ()) for name in "abc" for of in (cite, multiome)]
    assert "kit_cite + kit_multiome" in page(runs, "joint_embedding").text
    runs += [half(name, *cite) for name in "defg"]
    assert "kit_cite + kit_multiome" not in page(runs, "joint_embedding").text


def test_published_figures_have_a_tab_of_their_own():
    runs = [run("a", 0.39, dataset="neurips2021_cite_phase2", protocol="neurips2021-phase2")]
    shown = page(runs, published=read_published(PUBLISHED))
    tab = next(e for e in shown.all("section") if e.get("id") == "published")
    assert "DANCE" in tab["text"]
    assert not any("DANCE" in e["text"] for e in shown.all("section", "tab") if e is not tab)
    assert not any(e.get("id") == "published" for e in page(runs).all("section"))


def test_data_sets_and_directions_are_in_plain_words():
    shown = page([run("knn", 0.4, dataset="neurips_bmmc_cite_starter"), run("mine", 0.5, dataset="mine")])
    titles = [e["text"] for e in shown.all("h4")]
    assert titles == ["mine (100 cells) mine", "BMMC CITE-seq, starter (100 cells) neurips_bmmc_cite_starter"]
    assert [e["text"] for e in shown.all("h5")] == ["GEX→ADT", "GEX→ADT"]
    assert "Mean of the 20 nearest training cells" in shown.all("table", "heat")[0]["text"]


def test_each_number_tells_its_origin(made, whole):
    told = json.loads(next(e for e in whole.all("script") if e.get("id") == "provenance")["text"])
    buttons = [e for e in whole.all("button") if "data-panel" in e]
    known = [told["runs"][e["data-panel"]].get(e["data-method"]) for e in buttons]
    single = [run for run in known if run]
    assert len(single) > 0.7 * len(buttons)  # the others are means over subtasks
    assert all(run["seeds"] and run["config"] and run["versions"] and run["command"] for run in single)
    assert all(told["configs"][digits] for run in single for digits in run["config"])


@pytest.mark.parametrize(
    ("method", "where"),
    [
        ("knn", {"direction": "from_gex"}),
        ("knn[k=100]", {}),
        ("scmognn", {"direction": "to_gex"}),
        ("scmognn+hidden_16", {}),
        ("linear_hungarian", {}),
        ("scmognn+no_propagation", {"task": "joint_embedding"}),
    ],
)
def test_the_command_of_a_record_composes_to_its_settings(kept, method, where):
    same = [r for r in kept if r["method"] == method and all(r[k] == v for k, v in where.items())]
    record = next(r for r in same if r["dataset"] == "mini_cite")
    cfg = compose(overrides(record))
    settings = model_settings(cfg, record["subtask"])
    choices = {k: v for k, v in (settings.get("trainer") or {}).items() if k in TRAINING_CHOICES}
    task = OmegaConf.to_container(cfg.task, resolve=True)
    config = {"task": task, "model": settings | ({"trainer": choices} if choices else {})}
    assert digest(without_places(config)) == record["config_hash"]


def test_commands_by_hand():
    runs = [run("knn[k=100]", 0.5, seed, direction="to_gex") for seed in (1, 0, 10)]
    words = "task=predict_modality dataset=cells model=knn direction=to_gex model.predict_modality.k=100"
    assert set(command(runs).split()) == {"scmobench", "run", *words.split(), "seed=0,1,10", "-m"}
    assert "seed=0,1,10 -m" in command(runs)
    assert command([run("ensemble_unlike", 0.5)]).endswith("ensemble=unlike seed=0")
    for name, told in {
        "scmognn+inductive+ensemble_seeds": "model=scmognn ablation=inductive ensemble=seeds",
        "a[networks=[1,2],k=3]": "'model.predict_modality.networks=[1,2]' model.predict_modality.k=3",
        "a[smoke]": "model=a smoke=true",
        "a[k=3,smoke]": "model.predict_modality.k=3 smoke=true",
    }.items():
        assert told in command([run(name, 0.5)])
    told = [run("knn", 0.5, seed, command=f"scmobench run model=knn seed={seed}") for seed in (0, 1)]
    assert command(told) == "scmobench run model=knn seed=0,1 -m"
    assert command([run("theirs", 0.5, kind="external")]) == ""
    other = [*told, run("knn", 0.5, 2, command="scmobench run model=knn seed=2 --config-dir mine")]
    assert command(other).splitlines()[2] == "scmobench run model=knn seed=2 --config-dir mine"


def test_pictures_of_cells_are_in_the_page(tmp_path):
    folder = tmp_path / "figures"
    folder.mkdir()
    (folder / "umap.png").write_bytes(b"\x89PNG")
    picture = {"task": "predict_modality", "dataset": "cells", "direction": "GEX2ADT", "kind": "umap"}
    picture |= {"title": "UMAP", "alt": "cells <by> type", "file": "umap.png", "width": 9, "height": 6}
    (folder / "figures.json").write_text(json.dumps([picture]))
    board.leaderboard([run("a", 0.5)], tmp_path / "leaderboard")
    shown = Page((tmp_path / "leaderboard" / PAGE).read_text(encoding="utf-8"))
    (image,) = shown.all("img")
    assert (image["src"], image["alt"]) == ("data:image/png;base64,iVBORw==", "cells <by> type")
    assert not page([run("a", 0.5)]).all("img")


def test_colours_can_be_read():
    for theme in ("light", "dark"):
        path = ROOT / "src" / "scmobench" / "leaderboard" / "templates" / f"ramp-{theme}.css"
        ramp = re.findall(r"\.(\w+)\{--c:#(\w{6});--t:#(\w{3})\}", path.read_text())
        assert [name for name, *_ in ramp] == [*(f"h{n}" for n in range(10)), "worse"]
        light = {name: luminance(colour) for name, colour, _ in ramp}
        shades = [light[f"h{n}"] for n in range(10)]
        assert shades == sorted(shades, reverse=theme == "light"), "lightness alone tells the shades apart"
        for name, _, text in ramp:
            high, low = sorted((light[name], luminance("".join(2 * c for c in text))), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5


def luminance(colour):
    channels = [int(colour[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_headings_name_the_metric_and_its_direction(whole):
    columns = {e["text"] for e in whole.all("th") if e.get("scope") == "col"}
    for about in board.metric_metadata().values():
        assert {heading(m, about) for m in about} <= columns
