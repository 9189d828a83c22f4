"""Mean ranks, wins and groups over data sets, by hand and against scipy."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sample_runs import failure, run, standings
from scmobench.leaderboard.across import across


def board(scores, **changed):
    """Standings of method -> RMSE on each data set; None: no run."""
    return standings(
        [
            run(method, value, dataset=f"data{i}", data_hash=f"data{i}", **changed)
            for method, values in scores.items()
            for i, value in enumerate(values)
            if value is not None
        ]
    )


def test_mean_ranks_and_wins_by_hand():
    table = board({"a": (0.1, 0.2, 0.1), "b": (0.2, 0.1, 0.2), "c": (0.3, 0.3, 0.2)})
    found = across(table, "predict_modality").set_index("method")
    assert found["mean_rank"].to_dict() == pytest.approx({"a": 4 / 3, "b": 11 / 6, "c": 17 / 6})
    assert not found[["wins", "ties", "losses"]].to_numpy().any(), "one seed, no test"
    assert set(found["data_sets"]) == {3}
    assert list(found.index) == ["a", "b", "c"]
    friedman = stats.friedmanchisquare((0.1, 0.2, 0.1), (0.2, 0.1, 0.2), (0.3, 0.3, 0.2)).pvalue
    assert found["p_friedman"].iloc[0] == pytest.approx(friedman)
    assert set(found["group"]) == {"a"}, "Friedman's test finds no difference"


def test_only_tests_make_wins_and_ties():
    seeds = [
        ("a", [0.1, 0.1001, 0.1002]),
        ("b", [0.1, 0.1002, 0.1]),
        ("c", [0.2, 0.2002, 0.2001]),
        ("one", [0.15]),
    ]
    found = across(
        standings(
            [run(method, value, seed) for method, values in seeds for seed, value in enumerate(values)]
        ),
        "predict_modality",
    ).set_index("method")
    counts = found[["wins", "ties", "losses"]].T.to_dict("list")
    assert counts == {"a": [1, 1, 0], "b": [1, 1, 0], "c": [0, 0, 2], "one": [0, 0, 0]}


def test_the_same_cells_with_other_values_are_one_data_set():
    """The starter set and the same cells with the starter kit's values."""
    sets = ("neurips_bmmc_cite_starter", "neurips_bmmc_cite_starter_kit", "pbmc10x_cite")
    scores = {"a": (0.1, 0.1, 0.2), "b": (0.2, 0.2, 0.1)}
    runs = [
        run(method, value, dataset=name, data_hash=name)
        for method, values in scores.items()
        for name, value in zip(sets, values, strict=True)
    ]
    found = across(standings(runs), "predict_modality").set_index("method")
    assert found["mean_rank"].to_dict() == {"a": 1.5, "b": 1.5}
    assert set(found["data_sets"]) == {2}


def test_the_critical_difference_is_demsars():
    """Four methods on 14 data sets, the example of Demšar 2006: CD = 2.569 sqrt(4 * 5 / (6 * 14)) = 1.25."""
    rng = np.random.default_rng(0)
    far = {name: 0.1 * i + 0.01 * rng.random(14) for i, name in enumerate("abcd")}
    found = across(board(far), "predict_modality")
    assert found["critical_difference"].iloc[0] == pytest.approx(1.25, abs=0.005)
    assert found["group"].tolist() == ["a", "ab", "bc", "c"], "neighbours differ by one rank"
    assert found["mean_rank"].tolist() == [1, 2, 3, 4]


def test_what_is_missing_is_told_and_averaged_nowhere():
    scores = {
        "a": (0.1, 0.2, 0.1),
        "b": (0.2, 0.1, 0.3),
        "part": (0.05, None, 0.05),
        "rare": (None, None, 0.01),
    }
    found = across(board(scores), "predict_modality").set_index("method")
    assert found["missing"].to_dict() == {
        "a": [],
        "b": [],
        "part": ["data1 GEX2ADT"],
        "rare": ["data0 GEX2ADT", "data1 GEX2ADT"],
    }
    assert found["mean_rank"].isna().to_dict() == {"a": False, "b": False, "part": True, "rare": True}
    assert found["wins"].isna()["part"]
    assert found["mean_rank"]["a"] == pytest.approx(4 / 3), "methods that are not compared take no rank"
    special = across(board({"a": (0.1, 0.2), "b": (0.2, None), "c": (0.3, None)}), "predict_modality")
    assert set(special["data_sets"]) == {1}, "one method in three has the other"


def test_a_failed_run_is_missing():
    runs = [run(m, v, dataset=d, data_hash=d) for m, v in (("a", 0.1), ("b", 0.2)) for d in ("one", "two")]
    runs += [run("c", 0.3, dataset="one", data_hash="one"), failure("c", dataset="two")]
    found = across(standings(runs), "predict_modality").set_index("method")
    assert found["missing"]["c"] == ["two GEX2ADT"]
    assert pd.isna(found["mean_rank"]["c"])


def test_two_directions_of_the_same_cells_are_one_data_set():
    back = {"direction": "to_gex", "subtask": "ADT2GEX"}
    one = [run(m, v) for m, v in (("a", 0.1), ("b", 0.2))] + [
        run(m, v, **back) for m, v in (("a", 0.2), ("b", 0.1))
    ]
    two = [run(m, v, dataset="two", data_hash="two") for m, v in (("a", 0.1), ("b", 0.2))]
    found = across(standings(one + two), "predict_modality").set_index("method")
    assert found["mean_rank"].to_dict() == {"a": (1.5 + 1) / 2, "b": (1.5 + 2) / 2}
    assert set(found["data_sets"]) == {2}


def test_tracks_variants_and_controls_are_apart():
    scores = {"a": (0.2, 0.2, 0.2), "a+no_graph": (0.1, 0.1, 0.1), "b": (0.3, 0.3, 0.3)}
    runs = board(scores)
    assert across(runs, "predict_modality")["method"].tolist() == ["a", "b"]
    assert across(runs, "match_modality").empty
    both = pd.concat([runs, board({"labels": (0.1, 0.1, 0.1)}, label_supervised=True)])
    found = across(both, "predict_modality").set_index("method")
    assert found["mean_rank"].to_dict() == {"a": 1, "b": 2, "labels": 1}
    assert found["label_supervised"]["labels"]
