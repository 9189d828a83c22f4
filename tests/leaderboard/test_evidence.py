"""Tie groups: what is tested against what, on which seeds and cells, and what the tables say of it."""

import io
import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from sample_runs import METRICS, embedding, pick, run, standings
from scmobench.experiment import cell_differences, kept
from scmobench.leaderboard import write as board

SEEDS = (0.30, 0.31, 0.32, 0.33, 0.34)


def several(method, shift=0.0, noise=0.0, seeds=SEEDS, **changed):
    """A run a seed; the noise differs by method."""
    rng = np.random.default_rng(sum(map(ord, method)))
    return [run(method, v + shift + noise * rng.normal(), seed, **changed) for seed, v in enumerate(seeds)]


def npy(array):
    """An array as bytes of its file."""
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def on_disk(folder, cells, **changed):
    """Runs with the scores of their cells beside them: method -> squared errors, seeds x cells."""
    for method, losses in cells.items():
        for seed, squares in enumerate(np.asarray(losses, np.float32)):
            where = folder / method / f"seed-{seed}"
            where.mkdir(parents=True)
            root = float(np.sqrt(squares.astype(float).mean()))
            record = run(
                method, root, seed, n_test=len(squares), prediction_hash=f"{method}{seed}", **changed
            )
            (where / "record.json").write_text(json.dumps(record))
            np.save(where / "cells.npy", squares)


def draws(n_seeds, n_cells, **methods):
    """Squared errors of methods that share the difficulty of each cell; name -> its shift."""
    rng = np.random.default_rng(0)
    cell = rng.gamma(2, 0.5, (1, n_cells))
    luck = {name: rng.normal(0, 0.002, (n_seeds, 1)) + rng.normal(0, 0.05, (1, n_cells)) for name in methods}
    return {name: cell + shift + luck[name] for name, shift in methods.items()}


def test_seeds_alone_are_a_paired_t_test_in_units_of_the_metric():
    table = standings([*several("a"), *several("b", 0.02, 0.001)])
    a, b = (pick(table, m) for m in "ab")
    values = [np.array(list(row["by_seed"].values())) for row in (b, a)]
    squares = stats.ttest_rel(*(v**2 for v in values))
    assert b["p_holm"] == pytest.approx(squares.pvalue)
    roots = [np.sqrt((v**2).mean()) for v in values]
    assert b["gap"] == pytest.approx(roots[0] - roots[1])
    low, high = squares.confidence_interval(0.95)
    assert [b["gap_low"], b["gap_high"]] == pytest.approx([low / sum(roots), high / sum(roots)])
    assert (a["rank"], b["rank"], b["group"], a["evidence"], b["evidence"]) == (1, 2, 2, "5 seeds", "5 seeds")
    assert pd.isna(a["p_holm"])
    assert pd.isna(a["gap"])


def test_a_group_is_what_no_test_tells_from_its_best():
    records = [*several("best"), *several("same", 0.001, 0.01), *several("worse", 0.05, 0.001)]
    records += [*several("alike", 0.056, 0.01), *several("last", 0.2, 0.001)]
    table = standings(records)
    names = ("best", "same", "worse", "alike", "last")
    assert [pick(table, m)["group"] for m in names] == [1, 1, 2, 2, 3]
    assert [pick(table, m)["rank"] for m in names] == [1, 1, 3, 3, 5]
    assert pick(table, "same")["p_holm"] > 0.05
    assert pick(table, "worse")["p_holm"] < 0.05, "against the best of the group above"
    assert pick(table, "alike")["p_holm"] > 0.05, "against the best of its own group"


def test_a_noisy_method_does_not_rank_above_a_better_one():
    """No test tells "noisy" from the best; but "steady" is better than it, and told from the best."""
    records = [*several("best"), *several("steady", 0.01, 0.0005), *several("noisy", 0.05, 0.05)]
    records += [*several("untested", seeds=(0.3201,)), *several("like", 0.001, 0.01)]
    table = standings(records)
    noisy = pick(table, "noisy")
    assert noisy["p_holm"] > 0.05
    ranks = {m: pick(table, m)["rank"] for m in ("best", "untested", "like", "steady", "noisy")}
    assert ranks == {"best": 1, "untested": 1, "like": 1, "steady": 4, "noisy": 4}


def test_p_values_are_corrected_over_the_tests_of_a_leader():
    alone = pick(standings([*several("a"), *several("b", 0.006, 0.004)]), "b")
    others = [r for i in range(20) for r in several(f"c{i}", 0.001, 0.01)]
    among = pick(standings([*several("a"), *several("b", 0.006, 0.004), *others]), "b")
    assert alone["p_holm"] < 0.05 < among["p_holm"]
    assert (alone["rank"], among["rank"]) == (2, 1)


def test_what_cannot_be_tested_ties_only_where_it_reads_the_same():
    table = standings(
        [run("a", 0.065511), run("b", 0.065509), run("c", 0.0656), *several("d", 0, 0, (0.1, 0.1, 0.1))]
    )
    assert [pick(table, m)["rank"] for m in "abcd"] == [1, 1, 3, 4]
    assert set(table["evidence"]) == {"untested"}
    assert table["p_holm"].isna().all()
    two = standings([*several("a", seeds=SEEDS[:2]), *several("b", 0.1, 0.01, SEEDS[:2])])
    assert pick(two, "b")["evidence"] == "untested", "two seeds are too few"
    fixed = standings([*several("a", 0, 0, [0.1] * 5), *several("b", 0, 0, [0.2] * 5)])
    assert pick(fixed, "b")["evidence"] == "untested", "seeds that change nothing are one"


def test_fewer_seeds_than_the_others_have_are_seen():
    table = standings(
        [*several("a"), *several("b", 0.1, 0.01), run("c", 0.1), *several("d", 0, 0.01, SEEDS * 4)]
    )
    assert {m: (pick(table, m)["n"], pick(table, m)["n_expected"]) for m in "acd"} == {
        "a": (5, 5),
        "c": (1, 5),
        "d": (20, 5),
    }


def test_tracks_are_compared_apart():
    supervised = several("labels", -0.2, 0.01, label_supervised=True)
    table = standings([*several("a"), *several("b", 0.1, 0.001), *supervised])
    assert [pick(table, m)["rank"] for m in ("labels", "a", "b")] == [1, 1, 2]
    assert pick(table, "labels")["evidence"] == ""


def test_a_variant_is_tested_against_its_method():
    records = [*several("best"), *several("a", 0.1, 0.001), *several("a+no_graph", 0.15, 0.001)]
    row = pick(standings(records), "a+no_graph")
    assert row["gap"] == pytest.approx(0.05, abs=0.002)
    assert row["p_holm"] < 0.001
    assert pd.isna(row["group"])


@pytest.mark.parametrize(("n_seeds", "words"), [(5, "5 seeds × 300 cells"), (1, "300 cells, one seed")])
def test_cells_speak_beside_seeds_and_where_seeds_are_too_few(n_seeds, words, tmp_path):
    cells = draws(n_seeds, 300, a=0.0, b=0.02, c=0.001)
    on_disk(tmp_path, cells)
    table = standings(kept.read([tmp_path]))
    assert [pick(table, m)["rank"] for m in "acb"] == [1, 1, 3]
    b = pick(table, "b")
    assert b["evidence"] == words
    d = np.asarray(cells["b"] - cells["a"])
    seeds = d.mean(axis=1).var(ddof=1) / n_seeds if n_seeds > 1 else 0
    error = np.sqrt(seeds + d.mean(axis=0).var(ddof=1) / 300)
    assert b["gap_low"] < b["gap"] < b["gap_high"]
    roots = sum(np.sqrt(cells[m].mean()) for m in "ab")
    assert (b["gap"] - b["gap_low"]) * roots / error == pytest.approx(1.97 if n_seeds == 1 else 2, abs=0.15)
    assert pick(standings([dict(r) for r in kept.read([tmp_path])]), "b")["evidence"] != words


def test_a_record_without_a_file_hides_no_cells_of_others(tmp_path):
    on_disk(tmp_path, draws(3, 300, a=0.0, b=0.02))
    table = standings([*kept.read([tmp_path]), run("submitted", 1.9, kind="external", n_test=300)])
    assert pick(table, "b")["evidence"] == "3 seeds × 300 cells"
    assert pick(table, "submitted")["evidence"] == "untested"
    assert table.set_index("method")["source"].to_dict() == {
        "a": "this suite",
        "b": "this suite",
        "submitted": "external",
    }


def test_seeds_that_change_nothing_leave_the_cells(tmp_path):
    cells = {name: np.repeat(losses, 5, axis=0) for name, losses in draws(1, 300, a=0.0, b=0.02).items()}
    on_disk(tmp_path, cells)
    assert pick(standings(kept.read([tmp_path])), "b")["evidence"] == "300 cells, seeds change nothing"


def test_the_evidence_of_cells_is_kept_with_the_records(tmp_path):
    runs, records = tmp_path / "runs", tmp_path / "records"
    on_disk(runs, draws(5, 300, a=0.0, b=0.02, c=0.04))
    at_hand = standings(kept.read([runs]))
    kept.keep(kept.read([runs]), records)
    (file,) = records.rglob(cell_differences.FILE)
    before = file.read_bytes()
    travelled = standings(kept.read([records]))
    numbers = ["rank", "group", "p_holm", "gap_low", "gap_high"]
    pd.testing.assert_frame_equal(travelled[numbers], at_hand[numbers], rtol=1e-3)
    assert travelled["evidence"].tolist() == at_hand["evidence"].tolist()
    kept.keep(kept.read([runs]), records)
    assert file.read_bytes() == before
    # a run of another prediction has no kept pair; those of the others stay
    other = kept.read([runs / "c"])[0]
    kept.keep([dict(other) | {"prediction_hash": "new", "attempt": 2}], records)
    again = standings(kept.read([records]))
    assert [pick(again, m)["evidence"] for m in "bc"] == ["5 seeds × 300 cells", "5 seeds"]


def test_pairs_are_of_the_same_cells_alone(tmp_path):
    cells = draws(3, 50, a=0.0, b=0.02)
    on_disk(tmp_path / "one", {"a": cells["a"]})
    on_disk(tmp_path / "two", {"b": cells["b"]}, data_hash="other" * 12)
    records = tmp_path / "records"
    kept.keep(kept.read([tmp_path]), records)
    assert not list(records.rglob(cell_differences.FILE))


def test_damaged_pairs_are_one_line(tmp_path):
    runs, records = tmp_path / "runs", tmp_path / "records"
    on_disk(runs, draws(3, 50, a=0.0, b=0.02))
    kept.keep(kept.read([runs]), records)
    (path,) = records.rglob(cell_differences.FILE)
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"expected .*paired\.csv, found .*; delete"):
        standings(kept.read([records]))
    path.unlink()
    assert pick(standings(kept.read([records])), "b")["evidence"] == "3 seeds"


@pytest.mark.parametrize("text", [b"no array", b"", npy(np.zeros(49)), npy(np.array(["x"] * 50))])
def test_damaged_cells_are_named_and_left_out(text, tmp_path, capsys):
    on_disk(tmp_path, draws(3, 50, a=0.0, b=0.02))
    path = tmp_path / "b" / "seed-1" / "cells.npy"
    path.write_bytes(text)
    row = pick(standings(kept.read([tmp_path])), "b")
    assert row["evidence"] == "3 seeds × 50 cells", "of the other runs"
    assert capsys.readouterr().err == (
        f"left out: expected scores of 50 test cells in {path}, found something else; delete it, and the "
        "command of the run writes it again\n"
    )


def test_embeddings_are_compared_by_seeds():
    table = standings(
        [embedding(m, v + s / 100, seed=s) for m, v in (("a", 0.5), ("b", 0.7)) for s in range(5)]
    )
    assert pick(table, "a", "mean")["evidence"] == "untested", "each seed differs by the same: no spread"
    assert set(METRICS) == set(board.metric_metadata())
