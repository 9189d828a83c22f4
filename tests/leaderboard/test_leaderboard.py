"""Rendered tables: what a cell may say, what stands beside what, and whether files are current."""

from __future__ import annotations

import re
from io import StringIO

import pandas as pd
import pytest

from conftest import ROOT
from sample_runs import METRICS, PUBLISHED, cells, failure, page, render, run, standings, study, tables
from scmobench.leaderboard import write as board
from scmobench.leaderboard.methods import methods_page
from scmobench.leaderboard.published import join_published, published_table, read_published
from scmobench.leaderboard.readme import BEGIN, END, readme_section, replaced


@pytest.fixture(name="study")
def _study():
    return study()


def test_missing_not_applicable_and_failed_cells_hold_no_number():
    records = [
        run("full", {"rmse": 0.5, "mae": 0.25}),
        run("without", {"rmse": 0.6}),
        run("cannot", {"rmse": 0.7, "mae": "too few cells"}),
        failure("broken", message="MemoryError: no | room\nat all"),
    ]
    text = page(records)
    assert cells(text, "without")["MAE ↓"] == "—"
    assert cells(text, "cannot")["MAE ↓"] == "n/a<sup>1</sup>"
    assert "\n1. mae: too few cells\n" in text
    assert cells(text, "broken")["RMSE ↓"] == "failed"
    assert not re.search(r"\d", "".join(list(cells(text, "broken").values())[2:]))
    assert "Failed runs (1):" in text
    assert "- broken, seed 0: MemoryError: no \\| room at all" in text


def test_published_figures_join_only_the_same_dataset_and_protocol(study):
    figures = read_published(PUBLISHED)
    phase2 = {"dataset": "neurips2021_cite_phase2", "protocol": "neurips2021-phase2"}
    assert "published (" not in page(study, published=figures)
    for wrong in ({**phase2, "protocol": ""}, {**phase2, "dataset": "neurips2021_cite_deposit"}):
        assert "published (" not in page([run("a", 0.39, **wrong)], published=figures)
    records = [*study, run("a", 0.3895, **phase2)]
    joined = join_published(standings(records), figures)
    beside = joined[joined["source"] == "published"]
    assert set(beside["dataset"]) == {"neurips2021_cite_phase2"}
    assert set(beside["subtask"]) == {"GEX2ADT"}
    assert beside["rank"].isna().all()
    text = page(records[-1:], published=figures)
    order = [text.index(f"| {m} |") for m in ("scMoGNN (single)", "a", "DANCE (scMoGNN, 4-model ensemble)")]
    assert order == sorted(order)  # 0.3885, 0.3895, 0.3898


def test_published_page_keeps_every_ranked_figure():
    figures = read_published(PUBLISHED)
    raw = pd.read_csv(PUBLISHED)
    for task, metric, direction in (
        ("predict_modality", "rmse", "min"),
        ("match_modality", "match_probability", "max"),
        ("joint_embedding", "mean", "max"),
    ):
        table = published_table(figures[figures["task"] == task], metric, direction)
        held = table.iloc[:, 1:-2].notna().to_numpy().sum()
        assert held == raw[(raw["task"] == task) & raw["metric"].isin([metric, "arithmetic_mean"])].shape[0]
    best = published_table(figures[figures["task"] == "match_modality"], "match_probability", "max")
    own = best[best["kind"] != "control"]["method"]
    # 0.072 overall, mean of 0.0827 and 0.06, 0.0539 overall: one direction of each pair is enough.
    assert list(own[:3]) == ["scMoGNN", "scMoGNN (DANCE rerun)", "GLUE (CLUE)"]


def test_published_file_with_an_unknown_protocol_is_refused(tmp_path):
    rows = pd.read_csv(PUBLISHED).assign(protocol="other")
    rows.to_csv(tmp_path / "p.csv", index=False)
    with pytest.raises(ValueError, match="expected protocol"):
        read_published(tmp_path / "p.csv")


def test_markdown_is_well_formed(study):
    study += [run("a|b", 0.45), failure("x|y"), run("labels", 0.3, label_supervised=True)]
    texts = render(study, read_published(PUBLISHED))
    texts["readme"] = readme_section(standings(study), METRICS)
    for name, text in texts.items():
        if name.endswith((".csv", ".html")):
            continue
        assert "enerated by `scmobench leaderboard" in text
        found = tables(text)
        assert found
        for rows in found:
            assert {len(row) for row in rows} == {len(rows[0])}
            assert all(re.fullmatch(r" :--|--: | :-- | --: ", mark) for mark in rows[1])


def test_methods_with_the_same_scores_are_named():
    runs = [run("whole", 0.5 + seed / 10, seed) for seed in range(5)]
    runs += [run("idle", 0.5 + seed / 10, seed) for seed in range(3)]
    runs += [run("other", 0.5 + seed / 10 + (seed == 2), seed) for seed in range(3)]
    (same,) = re.findall(r"(\w+) and (\w+): the same scores, seed by seed", page(runs))
    assert set(same) == {"idle", "whole"}


def test_small_numbers_keep_their_digits():
    task = {"task": "match_modality"}
    text = page([run("a", {"match_probability": 0.000066}, **task)], "match_modality")
    assert cells(text, "a")["MP ↑"] == "**6.6e-05 (1)**"


def test_csv_is_read_back(study):
    texts = render(study)
    table = pd.read_csv(StringIO(texts["predict_modality.csv"]))
    assert set(texts) == {"predict_modality.csv", "predict_modality.md", "index.html"}
    assert ",".join(table.columns[:9]) == "task,dataset,subtask,method,metric,mean,sd,n,source"
    assert table.set_index("method").loc["b", ["mean", "n", "rank"]].tolist() == [0.4, 2, 1]


def test_readme_section(study):
    study += [
        run("a+no_graph", 0.01),
        run("a[k=2]", 0.01),
        run("c", 0.7, subtask="ADT2GEX", direction="to_gex"),
        run("bad", 0.8, subtask="ADT2GEX", direction="to_gex"),
        run("a+all", 0.5, kind="ensemble"),
        *(run("a", 0.4, dataset=name) for name in ("more", "others")),
        *(run("a+most", 0.5, kind="ensemble", dataset=name) for name in ("more", "others")),
    ]
    study[5] = run("c", 0.9)
    section = readme_section(standings(study), METRICS)
    assert section.startswith(BEGIN)
    assert section.endswith(END)
    header, _, *rows = [[c.strip() for c in row] for row in tables(section)[0]]
    data = [row[0] for row in rows]
    shown = {method: list(column) for method, *column in zip(header, *rows, strict=True)}
    assert data == ["cells<br>GEX2ADT", "cells<br>ADT2GEX", "more<br>GEX2ADT", "others<br>GEX2ADT"]
    assert shown["a"][:2] == ["**0.4000**<br>±&nbsp;0.2000&nbsp;(3)", "—"]
    assert shown["c"][:2] == ["0.9000<br>(1)", "**0.7000**<br>(1)"]
    assert shown["*zeros*"] == ["1.2000<br>(1)", "—", "—", "—"]
    assert not {"a+no_graph", "a[k=2]"} & set(shown)
    assert "a<br>+most" in shown
    assert "a<br>+all" not in shown, "an ensemble of one row in four"
    assert header[1:4] == ["a", "c", "b"], "a beats all others of two rows, c of one, b half of them"


def test_readme_is_replaced_between_its_markers_only(study, tmp_path):
    section = readme_section(standings(study), METRICS)
    assert replaced(f"x\n{BEGIN}\nold\n{END}\ny\n", section) == f"x\n{section}\ny\n"
    for text in ("none", f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"):
        with pytest.raises(ValueError, match="expected one line"):
            replaced(text, section)


def test_check_tells_what_is_not_current(study, tmp_path):
    readme, out = tmp_path / "README.md", tmp_path / "leaderboard"
    readme.write_text(f"top\n{BEGIN}{END}\n")
    written = board.leaderboard(study, out, readme=readme)
    assert {readme, out / "predict_modality.md", out / "published_joint_embedding.csv"} <= set(written)
    assert set(board.leaderboard(study, out, readme=readme, check=True)) == set(written)
    before = readme.read_text()
    with pytest.raises(SystemExit, match=r"0\.9999"):
        board.leaderboard([*study, run("new", 0.9999)], out, readme=readme, check=True)
    assert readme.read_text() == before
    (out / "predict_modality.csv").unlink()
    with pytest.raises(SystemExit, match=r"predict_modality\.csv on disk"):
        board.leaderboard(study, out, check=True)


def test_metadata_names_one_ranking_metric_a_task():
    metrics = board.metric_metadata()
    for task, name in (
        ("predict_modality", "rmse"),
        ("match_modality", "match_probability"),
        ("joint_embedding", "mean"),
    ):
        assert next(iter(metrics[task])) == name
        assert [m for m, about in metrics[task].items() if about.get("primary")] == [name]
        assert all(about["direction"] in ("min", "max") for about in metrics[task].values())


def test_committed_tables_are_current():
    folder, out, readme = ROOT / "results" / "records", ROOT / "results" / "leaderboard", ROOT / "README.md"
    if not list(folder.rglob("*.jsonl")):
        pytest.skip("no records are kept yet")
    page = ROOT / "results" / "methods.md"
    board.leaderboard([folder], out, readme=readme, check=True, methods=page)


def test_methods_page_is_made_from_the_yaml_and_the_records(tmp_path):
    for folder in ("model", "tuned/ridge", "ensemble"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "model" / "ridge.yaml").write_text(
        "name: ridge\nkind: method\nsource: a paper\ndescription: Ridge.\n"
        "tuning: {predict_modality: 9 trials}\n"
        "predict_modality: {_target_: m.Ridge, alpha: 0.5, widths: [2, 3], gene: null}\n"
    )
    (tmp_path / "tuned" / "ridge" / "large.yaml").write_text(
        "# @package _global_\nmodel:\n  tuning: {predict_modality: by hand}\n  predict_modality: {alpha: 2}\n"
    )
    (tmp_path / "ensemble" / "pair.yaml").write_text(
        "name: ensemble_pair\ndescription: Two.\nweights: equal\nmembers: [[], [], [model=ridge]]\n"
    )
    runs = [
        {"status": "ok", "task": "predict_modality", "method": "ridge", "dataset": name, "subtask": "GEX2ADT"}
        | {"n_train": n, "n_test": 1, "seconds": s, "peak_memory_gb": 1.0, "transductive": True}
        for name, n, s in (("small", 10, 1.0), ("tiny", 5, 9.0), ("large", 20, 2.0), ("large", 20, 4.0))
    ]
    runs.append(runs[-1] | {"subtask": "ADT2GEX", "seconds": 7.0})
    runs.append(runs[-1] | {"method": "ridge+ensemble_pair", "seconds": 70.0})
    page = methods_page(runs, tmp_path)
    assert "`alpha=0.5`, `widths=[2, 3]`, `gene=null`" in page
    assert "cost: 7 s and 1 GB on large (ADT2GEX, n = 1); 1 s and 1 GB on small (GEX2ADT, n = 1)\n" in page
    assert "flags: T\n" in page
    assert "settings chosen by: 9 trials\n- on large: `alpha=2`; by hand\n" in page
    assert "- members: as the command line says x 2, `model=ridge`\n- weights: equal" in page
    assert "cost: 70 s and 1 GB on large (ADT2GEX, n = 1)\n" in page
    assert "cost: —" in methods_page([], tmp_path)
