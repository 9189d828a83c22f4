"""Statistics of the tables, against numbers worked out by hand, and what must never be mixed."""

import random

import pandas as pd
import pytest

from page_reader import cells
from sample_runs import PUBLISHED, embedding, failure, page, pick, render, run, standings, study
from scmobench.leaderboard.comparison import compare, verdict
from scmobench.leaderboard.published import read_published


@pytest.fixture(name="study")
def _study():
    return study()


def test_mean_sd_rank_and_scaled_by_hand(study):
    table = standings(study)
    a, b = pick(table, "a"), pick(table, "b")
    assert (a["mean"], a["sd"], a["n"]) == (pytest.approx(0.4), pytest.approx(0.2), 3)
    assert b["sd"] == pytest.approx(0.02**0.5)
    assert pd.isna(pick(table, "c")["sd"])
    # a and b tie at 0.4 and share rank 1; c is third, not second.
    assert [pick(table, m)["rank"] for m in ("a", "b", "c", "worst")] == [1, 1, 3, 4]
    assert table[table["kind"] == "control"]["rank"].isna().all()
    # Floor 0.8 (mean, the best control that reads no cell), top 0.2 (solution); nothing is cut.
    assert [
        pick(table, m)["scaled"] for m in ("a", "c", "worst", "mean", "zeros", "solution")
    ] == pytest.approx([0.4 / 0.6, -0.1 / 0.6, -0.7 / 0.6, 0.0, -0.4 / 0.6, 1.0])
    assert (b["ci_low"], b["ci_high"]) == (pytest.approx(0.2), pytest.approx(0.6))
    assert (b["seconds"], b["peak_memory_gb"]) == (1.5, 0.75)


def test_higher_is_better_where_the_metric_says_so():
    control = {"kind": "control"}
    handed = control | {"transductive": True, "label_supervised": True}
    scored = (("good", 0.5, {}), ("poor", 0.1, {}), ("random", 0.0, control), ("solution", 1.0, handed))
    runs = [run(m, {"match_probability": v}, task="match_modality", **more) for m, v, more in scored]
    table = standings(runs)
    good = pick(table, "good", "match_probability")
    assert pick(table, "solution", "match_probability")["scaled"] == 1
    assert (good["rank"], good["scaled"]) == (1, 0.5)
    assert pick(table, "poor", "match_probability")["rank"] == 2


def test_no_scaled_score_without_controls():
    records = [run("a", 0.4), run("zeros", 1.0, kind="control")]
    assert standings(records)["scaled"].isna().all()
    assert cells(page(records), "a")["Scaled"] == "—"


def test_order_of_records_changes_nothing(study):
    study += [failure("d"), embedding("e", 0.5), run("a", 0.3, direction="to_gex", subtask="ADT2GEX")]
    figures = read_published(PUBLISHED)
    expected = render(study, figures)
    for seed in range(3):
        random.Random(seed).shuffle(study)
        assert render(study, figures) == expected


@pytest.mark.parametrize(
    "other",
    [
        {"data_hash": "0" * 64},
        {"normalization": {"GEX": "scran", "ADT": "clr"}},
        {"protocol": "elsewhere"},
        {"config": {"task": {"name": "predict_modality", "n_test_cells": 10}}},
    ],
)
def test_other_data_is_another_table(other):
    records = [run("a", 0.4), run("b", 0.5), run("a", 0.1, 1, **other)]
    table = standings(records)
    assert sorted(table[table["method"] == "a"]["mean"]) == [0.1, 0.4]
    shown = page(records)
    assert len(shown.tables()) == 2
    assert ("task settings: n_test_cells 10" in shown.text) == ("config" in other)


def test_repeated_run_counts_once_and_the_last_one():
    again = run("a", 0.9, finished="2026-03-01T00:00:00Z")
    row = pick(standings([again, run("a", 0.1)]), "a")
    assert (row["mean"], row["n"]) == (0.9, 1)


def test_configurations_of_one_method_are_not_averaged():
    """The default configuration has the most seeds, of several such the last run; others are variants."""
    table = standings([run("a", 0.1), run("a", 0.9, 1, config_hash="beef00000000"), run("a", 0.3, 2)])
    assert dict(zip(table["method"], table["mean"], strict=True)) == {"a #beef00": 0.9, "a": 0.2}
    assert dict(zip(table["method"], table["variant"], strict=True)) == {"a #beef00": True, "a": False}
    late = run("a", 0.9, config_hash="beef00000000", finished="2026-03-01T00:00:00Z")
    assert set(standings([run("a", 0.1), late])["method"]) == {"a", "a #c0ffee"}


def test_variants_have_no_rank_and_count_in_none():
    better = [run(name, 0.1) for name in ("a+no_graph", "a[k=2]", "b+ensemble_seeds[k=2]")]
    better[-1]["kind"] = "ensemble"
    table = standings([run("a", 0.4), run("a+ensemble_seeds", 0.3, kind="ensemble"), *better])
    assert [pick(table, m)["rank"] for m in ("a+ensemble_seeds", "a")] == [1, 2]
    assert table.set_index("method")["variant"].to_dict() == {
        **dict.fromkeys(("a+no_graph", "a[k=2]", "b+ensemble_seeds[k=2]"), True),
        **dict.fromkeys(("a", "a+ensemble_seeds"), False),
    }
    assert table[table["variant"]]["rank"].isna().all()


def test_label_supervised_methods_are_a_track_of_their_own(study):
    study += [run("labels", 0.01, label_supervised=True), run("labels2", 0.02, label_supervised=True)]
    table = standings(study)
    assert [pick(table, m)["rank"] for m in ("a", "labels", "labels2")] == [1, 1, 2]
    (rows,) = page(study).tables()
    assert " ".join(row[0] for row in rows[1:]) == "a b c worst labels labels2 solution mean zeros"


def test_methods_are_compared_by_the_metrics_that_most_of_them_have():
    """One seed without a metric would otherwise raise the mean of its method, or lower it."""
    records = [embedding("whole", 0.5), embedding("better", 0.6), embedding("partial", 0.9, ("cc_cons",))]
    records += [embedding("mixed", 0.8, ("cc_cons",)), embedding("mixed", 0.4, seed=1)]
    for record in records[:2]:
        record["scores"] |= {"cc_cons": {"value": 0.0}}
    table = standings(records)
    means = table[table["metric"] == "mean"].set_index("method")
    assert means["mean"].to_dict() == pytest.approx(
        {"whole": 0.5, "better": 0.6, "mixed": 0.6, "partial": 0.9}
    )
    assert means["rank"].to_dict() == {"partial": 1, "better": 2, "mixed": 2, "whole": 4}
    assert set(means["applicable"]) == {"5/5"}, "two of four methods are no majority"
    assert set(means["reason"]) == {""}


def test_a_mean_without_a_metric_that_counts_has_no_rank():
    records = [embedding(name, value) for name, value in (("a", 0.5), ("b", 0.6), ("c", 0.7))]
    records += [embedding("partial", 0.9, ("cc_cons",)), embedding("partial+idea", 0.9, ("cc_cons",))]
    records += [embedding("a+idea", 0.9, ("cc_cons",)), embedding("a+other", 0.9, ("cc_cons",))]
    records.append(embedding("partial", 0.9, seed=1))
    records[-1]["scores"] |= {"cc_cons": {"value": 0.0}}  # which counts in neither seed
    table = standings(records)
    assert [pick(table, m, "mean")["rank"] for m in "cba"] == [1, 2, 3]
    partial = pick(table, "partial", "mean")
    assert (partial["mean"], partial["applicable"], partial["reason"]) == (0.9, "5/6", "without cc_cons")
    assert pd.isna(partial["rank"])
    shown = page(records, "joint_embedding")
    assert "mean: without cc_cons" in shown.text
    assert "+0.4" not in shown.text, "an ablation is not compared by other metrics than its method"


def test_an_embedding_with_fewer_than_half_of_the_metrics_has_no_mean():
    """Cells at one point mix their batches perfectly, and support little else."""
    four = ("nmi", "graph_conn", "cc_cons", "ti_cons_batch_mean")
    records = [embedding("whole", 0.5), embedding("other", 0.6), embedding("point", 1, four)]
    records += [embedding("zeros", 1, four, kind="control"), embedding("half", 0.7, four[:3])]
    table = standings([*records, embedding("third", 0.4)])
    for name in ("point", "zeros"):
        row = pick(table, name, "mean")
        assert pd.isna(row[["mean", "rank", "scaled"]]).all()
        assert (row["applicable"], row["reason"]) == ("2/6", f"without {', '.join(four)}")
    assert pick(table, "half", "mean")["mean"] == pytest.approx(0.7)


def test_without_methods_a_metric_counts_if_a_control_has_it_that_is_handed_the_labels():
    handed = {"transductive": True, "label_supervised": True, "kind": "control"}
    records = [embedding("solution", 0.9, ("cc_cons",), **handed), embedding("random", 0.3, kind="control")]
    records[1]["scores"] |= {"cc_cons": {"value": 0.9}, "mean": {"value": 0.4}}
    table = standings(records)
    assert pick(table, "random", "mean")["mean"] == pytest.approx(0.3)
    assert set(table[table["metric"] == "mean"]["applicable"]) == {"5/5"}
    assert pick(table, "solution", "mean")["scaled"] == 1


def test_a_method_with_failed_seeds_has_no_rank():
    runs = [run("a", 0.4 + seed / 10, seed) for seed in range(3)] + [run("b", 0.7, s) for s in range(2)]
    table = standings([*runs, failure("b", seed=2)])
    assert (pick(table, "a")["rank"], pick(table, "b")["mean"], pick(table, "b")["failed"]) == (1, 0.7, 1)
    assert pd.isna(pick(table, "b")["rank"])
    assert pick(standings(runs), "b")["rank"] == 2


def test_one_untested_method_leaves_the_others_tested():
    records = [run("a", 0.40 + seed / 100, seed) for seed in range(3)] + [run("once", 0.42)]
    records += [run("c", 0.6 + seed / 101, seed) for seed in range(3)]
    table = standings(records)
    assert {m: pick(table, m)["tested"] for m in ("a", "once", "c")} == {"a": True, "once": False, "c": True}
    assert pick(table, "a")["evidence"] == "3 seeds"
    assert "a leads. Next is once, untested." in page(records).text


def test_a_metric_that_some_seeds_lack_has_no_rank():
    runs = [run("whole", {"rmse": 0.5, "mae": 0.3}, seed) for seed in range(3)]
    runs += [run("worse", {"rmse": 0.6, "mae": 0.4}, seed) for seed in range(3)]
    runs += [run("some", {"rmse": 0.7, "mae": "no root" if seed else 0.1}, seed) for seed in range(3)]
    table = standings(runs)
    assert {m: pick(table, m, "mae")["rank"] for m in ("whole", "worse")} == {"whole": 1, "worse": 2}
    assert pd.isna(pick(table, "some", "mae")["rank"])
    assert pick(table, "some", "rmse")["rank"] == 3
    assert cells(page(runs), "some")["MAE ↓"] == "0.1000 (1)"
    assert "mae: 1 of 3 seeds; else no root" in page(runs).text


def test_failure_is_forgotten_once_the_run_ends_well():
    late = run("a", 0.4, finished="2026-02-01T01:00:00Z")
    assert "Failed runs (" not in page([failure("a"), late]).text
    assert "Failed runs (1)" in page([failure("a"), run("a", 0.4)]).text
    assert "a, seed 0: boom" in page([failure("a")]).text


def test_overall_is_the_mean_of_subtasks_seed_by_seed():
    back = {"direction": "to_gex", "subtask": "ADT2GEX"}
    records = [run("a", 0.2, 0), run("a", 0.4, 1), run("half", 0.1, 0)]
    records += [run("a", 0.4, 0, **back), run("a", 0.8, 1, **back)]
    row = pick(standings(records), "a", subtask="Overall")
    # Seeds 0 and 1 have 0.3 and 0.6.
    assert (row["mean"], row["sd"], row["n"]) == (pytest.approx(0.45), pytest.approx(0.045**0.5), 2)
    assert row["seconds"] == 4.0
    table = standings(records)
    assert table[(table["subtask"] == "Overall") & (table["method"] == "half")].empty
    few = standings([*records, run("third", 0.1)])
    assert "Overall" not in set(few["subtask"]), "one of three methods has it"


def test_overall_spans_the_cite_and_multiome_halves_of_one_benchmark():
    halves = {"GEX2ADT": "kit_cite", "GEX2ATAC": "kit_multiome"}
    records = [
        run("a", value, subtask=s, dataset=d, data_hash=d)
        for value, (s, d) in zip((0.2, 0.6), halves.items(), strict=True)
    ]
    row = pick(standings(records), "a", subtask="Overall")
    assert (row["dataset"], row["mean"]) == ("kit_cite + kit_multiome", pytest.approx(0.4))
    records.append(run("a", 0.1, 1, subtask="GEX2ATAC", dataset="kit_multiome", data_hash="other"))
    table = standings(records)
    assert "Overall" not in set(table["subtask"])


def test_compare_finds_what_was_not_reproduced():
    kept = [run("a", {"rmse": 0.5, "mae": "few"}), run("b", 0.25), run("c", 0.1)]
    fresh = [run("a", {"rmse": 0.5 + 1e-9, "mae": "few"}), run("b", 0.2501), run("c", 0.1, data_hash="other")]
    compared = compare(fresh, kept)
    assert len(compared) == 3
    words = verdict(compared)
    assert words.startswith("reproduced: 2 of 3 scores within 1e-06 (largest difference 0.0001)")
    assert "b: 1 of 1 scores differ, most seed 0 rmse: 0.2501 here, 0.25 kept" in words
    assert "means over seeds" not in words, "one seed has none"
    assert compared["difference"].max() == pytest.approx(1e-4)
    lost = compare([run("b", {"rmse": "lost"})], kept)
    assert verdict(lost).startswith("reproduced: 0 of 1")
    assert "nothing to compare" in verdict(compare([], kept))


def test_compare_sets_means_beside_the_spread_of_the_kept_seeds():
    kept = [run(m, v, seed) for m, vs in (("a", (0.5, 0.6)), ("b", (0.5, 0.5))) for seed, v in enumerate(vs)]
    for values, good in (
        ((0.56, 0.66, 0.5, 0.5), 2),  # a by 0.06, its sd 0.07 (0.05 if it were biased)
        ((0.65, 0.7, 0.5, 0.5), 1),
        ((0.5, 0.6, 0.5, 0.5 + 1e-5), 1),  # b by 5e-6, its sd 0
    ):
        fresh = [run(r["method"], v, r["seed"]) for r, v in zip(kept, values, strict=True)]
        told = verdict(compare(fresh, kept))
        assert f"{good} of 2 means over seeds are within one sd" in told
    assert "outside: predict_modality cells GEX2ADT b rmse: 0.5 here, 0.5 ± 0 kept" in told
    assert "training on another processor gives other networks" in told
    both = [[r | {"arithmetic": "portable"} for r in side] for side in (fresh, kept)]
    assert "portable arithmetic differ only by the versions" in verdict(compare(*both))
    assert "another processor" in verdict(compare(both[0], kept))
    same = verdict(compare(kept, kept))
    assert same == "reproduced: 4 of 4 scores within 1e-06 (largest difference 0)"
