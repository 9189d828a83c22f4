"""Files of the leaderboard: CSV, narrow tables, published figures, and whether they are current."""

import re
from io import StringIO

import pandas as pd
import pytest

from places import ROOT
from sample_runs import METRICS, PUBLISHED, failure, render, run, standings, study
from scmobench.experiment.kept import read
from scmobench.leaderboard import write as board
from scmobench.leaderboard.methods import methods_page
from scmobench.leaderboard.published import join_published, published_table, read_published
from scmobench.leaderboard.readme import BEGIN, END, folder_page, readme_section, replaced
from scmobench.leaderboard.report import boards

RANKED = {"predict_modality": "rmse", "match_modality": "match_probability", "joint_embedding": "mean"}


def markdown(text):
    """The tables of a text, as rows of cells."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.M)
    return [[re.split(r"(?<!\\)\|", line)[1:-1] for line in block.splitlines()] for block in blocks]


@pytest.fixture(name="study")
def _study():
    return study()


def test_published_figures_join_only_the_same_dataset_and_protocol(study):
    figures = read_published(PUBLISHED)
    phase2 = {"dataset": "neurips2021_cite_phase2", "protocol": "neurips2021-phase2"}
    for wrong in ({}, {**phase2, "protocol": ""}, {**phase2, "dataset": "neurips2021_cite_deposit"}):
        joined = join_published(standings([run("a", 0.39, **wrong)]), figures)
        assert set(joined["source"]) == {"this suite"}
    records = [*study, run("a", 0.3895, **phase2)]
    joined = join_published(standings(records), figures)
    beside = joined[joined["source"] == "published"]
    assert set(beside["dataset"]) == {"neurips2021_cite_phase2"}
    assert set(beside["subtask"]) == {"GEX2ADT"}
    assert beside["rank"].isna().all()


def test_published_page_keeps_every_ranked_figure():
    figures = read_published(PUBLISHED)
    raw = pd.read_csv(PUBLISHED)
    for task, metric in RANKED.items():
        table = published_table(figures[figures["task"] == task], metric, METRICS[task][metric]["direction"])
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
    texts["readme"] = readme_section(boards(standings(study), METRICS))
    for name in ("README.md", "readme"):
        assert "enerated by `scmobench leaderboard" in texts[name]
        for rows in markdown(texts[name]):
            assert len(rows[0]) <= 8
            assert {len(row) for row in rows} == {len(rows[0])}
            assert all(re.fullmatch(r":--|--:", mark) for mark in rows[1])


def test_csv_is_read_back(study):
    texts = render(study)
    table = pd.read_csv(StringIO(texts["predict_modality.csv"]))
    pictures = "summary-light.svg", "summary-dark.svg"
    assert set(texts) == {"predict_modality.csv", "index.html", "README.md", *pictures}
    assert ",".join(table.columns[:9]) == "task,dataset,subtask,method,metric,mean,sd,n,source"
    assert table.set_index("method").loc["b", ["mean", "n", "rank"]].tolist() == [0.4, 2, 1]


def test_narrow_tables_hold_the_summary(study):
    study += [run(name, 2.0) for name in ("a+no_graph", "a[k=2]")]
    study += [run(m, v, subtask="ADT2GEX", direction="to_gex") for m, v in (("c", 0.7), ("bad", 0.8))]
    mini = {"a": 0.5, "b": 0.25, "c": 0.8, "mean": 0.6, "zeros": 0.9}
    study += [run(name, value, dataset="mini_cite") for name, value in mini.items()]
    study = [r | {"kind": "control"} if r["method"] in ("mean", "zeros") else r for r in study]
    found = boards(standings(study), METRICS)
    full = folder_page(found, ["predict_modality"])
    header, _, *rows = [[c.strip() for c in row] for row in markdown(full)[0]]
    assert header[:2] == ["RMSE ↓", "Mean rank"]
    assert header[2:] == ["cells<br>GEX→ADT", "cells<br>ADT→GEX", "PBMC mini<br>GEX→ADT"]
    shown = {row[0]: row[1:] for row in rows}
    assert shown["b"] == ["1.5", "0.40 ± 0.14 (2)", "—", "0.2500 (1)"]
    assert shown["a"][1:] == ["0.4 ± 0.2", "—", "0.5000 (1)"]
    assert shown["c"] == ["3.0", "0.9000 (1)", "0.7000 (1)", "0.8000 (1)"]
    assert shown["*zeros*"] == ["", "1.200 (1)", "—", "0.9000 (1)"]
    assert not {"a+no_graph", "a[k=2]"} & set(shown)
    assert "published_predict_modality.csv" in full
    assert "Mean ± sd over 3 seeds (fewer: in brackets)" in full
    brief = readme_section(found)
    assert brief.startswith(BEGIN)
    assert brief.endswith(END)
    assert [row[0].strip() for row in markdown(brief)[0][2:]] == ["a", "b", "c", "*mean*"]


def test_readme_names_scmognn_whatever_its_place():
    runs = [run(f"m{n}", 0.1 * n) for n in range(1, 7)] + [run("scmognn", 0.9)]
    rows = markdown(readme_section(boards(standings(runs), METRICS)))[0][2:]
    assert [row[0].strip() for row in rows] == ["m1", "m2", "m3", "scmognn"]


def test_narrow_tables_leave_out_the_other_direction_and_simulated_cells_first():
    names = [*"abcd", "synthetic_multiome", "snareseq_mop"]
    runs = [run("m", 0.5, dataset=name) for name in names]
    runs += [run("m", 0.5, dataset=name, direction="to_gex", subtask="ADT2GEX") for name in names]
    header = markdown(folder_page(boards(standings(runs), METRICS), []))[0][0]
    assert [c.split("<br>")[0].strip() for c in header[2:]] == [*"abcd", "Mouse cortex", "Simulated"]
    assert not any("ADT→GEX" in c for c in header)


def test_readme_is_replaced_between_its_markers_only(study, tmp_path):
    section, path = readme_section(boards(standings(study), METRICS)), tmp_path / "README.md"
    path.write_text(f"x\n{BEGIN}\nold\n{END}\ny\n")
    assert replaced(path, section) == f"x\n{section}\ny\n"
    for text in ("none", f"{END} {BEGIN}", f"{BEGIN} {BEGIN} {END}"):
        path.write_text(text)
        with pytest.raises(ValueError, match="expected one line"):
            replaced(path, section)


def test_check_tells_what_is_not_current(study, tmp_path):
    readme, out = tmp_path / "README.md", tmp_path / "leaderboard"
    readme.write_text(f"top\n{BEGIN}{END}\n")
    written = board.leaderboard(study, out, readme=readme)
    assert {readme, out / "predict_modality.csv", out / "published_joint_embedding.csv"} <= set(written)
    assert set(board.leaderboard(study, out, readme=readme, check=True)) == set(written)
    before = readme.read_text()
    with pytest.raises(SystemExit, match=r"0\.9999"):
        board.leaderboard([*study, run("new", 0.9999)], out, readme=readme, check=True)
    assert readme.read_text() == before
    assert not list(out.glob(".*")), "no half-written file stays"
    page = out / "index.html"
    page.write_text(page.read_text(encoding="utf-8").replace("± 0.14", "± 0.13"), encoding="utf-8")
    with pytest.raises(SystemExit, match=r"index\.html on disk[^…]*± 0\.13"):
        board.leaderboard(study, out, check=True)
    assert "± 0.13" in page.read_text(encoding="utf-8"), "a check writes nothing"
    (out / "predict_modality.csv").unlink()
    with pytest.raises(SystemExit, match=r"without --check writes them\n.*modality\.csv is not there"):
        board.leaderboard(study, out, check=True)


def test_a_page_of_methods_beside_the_tables_is_linked_and_need_not_be_named(study, tmp_path):
    out, methods = tmp_path / "leaderboard", tmp_path / "methods.md"
    board.leaderboard(study, out, methods=methods)
    assert methods not in board.leaderboard(study, out, check=True)
    methods.unlink()
    with pytest.raises(SystemExit, match=r"not current"):
        board.leaderboard(study, out, check=True)


def test_metadata_names_one_ranking_metric_a_task():
    metrics = board.metric_metadata()
    assert {task: next(iter(found)) for task, found in metrics.items()} == RANKED
    for task, found in metrics.items():
        assert [m for m, about in found.items() if about.get("primary")] == [RANKED[task]]
        assert all(about["direction"] in ("min", "max") for about in found.values())


def test_committed_tables_are_current():
    folder, out, readme = ROOT / "results" / "records", ROOT / "results" / "leaderboard", ROOT / "README.md"
    if not list(folder.rglob("*.jsonl")):
        pytest.skip("no records are kept yet")
    page = ROOT / "results" / "methods.md"
    board.leaderboard(read([folder]), out, readme=readme, check=True, methods=page)


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
    assert "search for settings: 9 trials\n- on large: `alpha=2`; by hand\n" in page
    assert "- members: as the command line says x 2, `model=ridge`\n- weights: equal" in page
    assert "cost: 70 s and 1 GB on large (ADT2GEX, n = 1)\n" in page
    assert "cost: —" in methods_page([], tmp_path)
