"""What a run shows: on a terminal what it does and how far it is, in a pipe what came out."""

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from anndata import AnnData

from command_line import here, on_a_terminal
from scmobench.experiment import display
from scmobench.experiment.applicable import lacking
from scmobench.experiment.config import build
from scmobench.experiment.evaluate import metrics
from scmobench.experiment.plan import Plan
from scmobench.machine import terminal

TRAINED = ("model=babel_like", "dataset=tiny_cite", "model.predict_modality.max_epochs=30")


@pytest.mark.filterwarnings("error")
def test_what_libraries_say_of_themselves_ends_no_run() -> None:
    with terminal.hushed():
        warnings.warn("`x` is deprecated", DeprecationWarning, stacklevel=2)
        AnnData(np.ones((2, 2)), pd.DataFrame(index=[0, 1]))


def test_a_terminal_shows_what_a_run_does_its_epochs_and_all_that_came_out(tmp_path: Path) -> None:
    shown = on_a_terminal("run", *TRAINED, cwd=tmp_path)
    head, _, end = shown.partition("/30 epochs")
    assert "babel_like[max_epochs=30] on tiny_cite: predict_modality, seed 0" in head
    assert "106 training and 44 test cells, 120 GEX and 20 ADT features" in head
    assert "writes to runs/predict_modality/tiny_cite/GEX2ADT/babel_like[max_epochs=30]" in head
    for name in metrics("predict_modality"):
        assert f"\n{name} " in end
    assert "record      runs/" in end
    assert "/30 epochs" not in on_a_terminal("run", "-q", *TRAINED, "seed=1", cwd=tmp_path)


def test_a_pipe_gets_the_table_alone_as_plain_text(tmp_path: Path) -> None:
    for quiet in ((), ("-q",)):
        done = here("run", *quiet, "model=mean", "dataset=tiny_cite", cwd=tmp_path)
        assert done.stderr == ""
        lines = done.stdout.splitlines()
        assert lines[0].startswith("predict_modality tiny_cite GEX2ADT mean seed 0")
        assert lines[1].split() == ["metric", "better", "value", "95", "%", "interval"]
        assert len(lines) == 2 + len(metrics("predict_modality")) + 3
        assert "\x1b" not in done.stdout
        record, prediction = (line.split()[-1] for line in lines[:-3:-1])
        assert (tmp_path / prediction).is_file()
        low, high = json.loads((tmp_path / record).read_text())["interval"]["rmse"]
        assert lines[2].split() == ["rmse", "↓", "0.5300", f"{low:.4f}", "to", f"{high:.4f}"]


def test_a_missing_value_comes_with_its_reason_in_a_run_and_in_a_sweep(tmp_path: Path) -> None:
    given = ("model=batch", "dataset=tiny_cite", "task=joint_embedding")
    absent = [line for line in here("run", *given, cwd=tmp_path).stdout.splitlines() if " n/a" in line]
    assert absent
    assert all(len(line.split("n/a")[1].split()) > 2 for line in absent)


def test_a_sweep_ends_with_the_mean_and_spread_of_each_method(tmp_path: Path) -> None:
    given = ("model=random,mean", "dataset=tiny_cite", "seed=0,1,2")
    shown = on_a_terminal("run", "-m", *given, cwd=tmp_path)
    rows = [line.split() for line in shown.partition("rmse ↓\n")[2].splitlines() if line.strip()]
    assert [row[0] for row in rows[:3]] == ["method", "mean", "random"], "the best first"
    assert re.search(r"\[4/6\] mean seed 0, about \d+ s left", shown)
    told = {0.4: "0 s", 90: "90 s", 91: "2 min", 5400: "90 min", 7200: "2.0 h"}
    assert {seconds: terminal.duration(seconds) for seconds in told} == told
    assert rows[1][1:5] == ["0.5300", "±", "0.0000", "3"]
    values = [json.loads(p.read_text()) for p in tmp_path.rglob("record.json")]
    random = [r["scores"]["rmse"]["value"] for r in values if r["method"] == "random"]
    assert rows[2][1] == f"{sum(random) / 3:.4f}"


def test_a_seed_counts_once_and_held_out_cells_are_named(tmp_path: Path) -> None:
    given = ("model=knn", "dataset=tiny_cite", "seed=0,0", "score_on=test,validation")
    shown = here("run", "-m", *given, cwd=tmp_path).stdout
    tables = [part.splitlines()[1].split() for part in shown.split("rmse ↓\n")[1:]]
    assert [(row[0], row[-2]) for row in tables] == [("knn", "1"), ("knn", "1")]
    assert "\npredict_modality tiny_cite GEX2ADT (score_on=validation): rmse ↓\n" in shown
    shown = here("run", *given[:2], "score_on=validation", cwd=tmp_path).stdout
    assert shown.startswith("predict_modality tiny_cite GEX2ADT knn seed 0 (score_on=validation)  (finished")


@pytest.mark.parametrize("columns", [20, 40])
def test_a_narrow_terminal_cuts_no_value(columns: int, capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    terminal.table([("rmse", "0.3517", "0.3332 to 0.3707")], ("metric", "value", "95 % interval"), right=(1,))
    assert "0.3332 to 0.3707" in capsys.readouterr().out


def test_members_of_an_ensemble_are_shown_as_they_end(tmp_path: Path) -> None:
    given = ("ensemble=seeds", "ensemble.members=[['model=knn'],['model=mean']]", "dataset=tiny_cite")
    refused = on_a_terminal("run", *given, cwd=tmp_path)
    assert "expected +ensemble.unlike=true beside ensemble.members that name models: add it" in refused
    shown = on_a_terminal("run", *given, "+ensemble.unlike=true", cwd=tmp_path)
    for number, name in enumerate(("knn", "mean"), 1):
        assert f"member {number}/2  predict_modality tiny_cite GEX2ADT {name} seed 0" in shown


@pytest.fixture(scope="module")
def unlabelled() -> Plan:
    plan = Plan.composed(["dataset=tiny_cite", "task=joint_embedding", "model=gex_only"])
    obs = plan.cells.obs[["batch", "is_train", "is_scored"]]
    return replace(plan, paired=replace(plan.cells, obs=obs, organism=""))


def test_metrics_that_cells_without_labels_cannot_have_are_named_before_the_fit(unlabelled, capsys) -> None:
    display.begins(unlabelled)
    told = capsys.readouterr().err
    assert "asw_batch, asw_label, graph_conn, nmi, nmi_leiden cannot be scored: the solution" in told
    assert "cc_cons" in told
    assert "ti_cons_batch_mean" in told
    assert "mean: " not in told


@pytest.mark.parametrize("data", ["tiny_cite", "mini_cite"])
def test_what_is_announced_is_what_is_lacking_in_the_end(data: str) -> None:
    from scmobench.experiment.evaluate import evaluate

    plan = Plan.composed([f"dataset={data}", "task=joint_embedding", "model=gex_only"])
    solution = plan.problem.solution
    answer = build(plan.settings).fit(plan.problem.data, 0).predict(plan.problem.data)
    scores = evaluate("joint_embedding", plan.task.pack(answer, plan.problem.data, "x"), solution)
    assert lacking("joint_embedding", solution).items() <= {n: s.reason for n, s in scores.items()}.items()
    assert lacking("joint_embedding", solution).keys() <= {n for n, s in scores.items() if s.value is None}
    assert lacking("predict_modality", solution) == {}


def test_a_comparison_says_where_there_is_no_clear_difference() -> None:
    from scmobench.experiment.evaluate import PairedTest, primary

    rmse, match = primary("predict_modality"), primary("match_modality")
    close = PairedTest(0.5, 0.51, -0.01, -0.03, 0.01, 0.3, 80)
    assert display.verdict(rmse, close, "a", "b") == (
        "no clear difference: rmse 0.5000 of a against 0.5100 of b, difference -0.0100 "
        "(95 % interval -0.0300 to 0.0100, p = 0.3000, 80 cells)"
    )
    higher = PairedTest(0.5, 0.4, 0.1, 0.05, 0.15, 0.002, 80)
    assert display.verdict(match, higher, "a", "b").startswith("a is better: match_probability 0.5")
    assert "gap 0.1000 (95 % interval 0.0500 to 0.1500, p = 0.0020, 80 cells)" in display.verdict(
        rmse, higher, "a", "b"
    )
