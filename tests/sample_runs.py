"""Hand-made records of runs, and the tables that are made from them."""

from page_reader import Page
from places import ROOT
from scmobench.leaderboard import standings as statistics
from scmobench.leaderboard import write
from scmobench.leaderboard.report import boards

METRICS = {
    "predict_modality": {
        "rmse": {"label": "RMSE", "direction": "min", "primary": True, "root": True},
        "mae": {"label": "MAE", "direction": "min"},
    },
    "match_modality": {"match_probability": {"label": "MP", "direction": "max", "primary": True}},
    "joint_embedding": {
        "mean": {"label": "Mean", "direction": "max", "primary": True},
        "nmi": {"label": "NMI", "direction": "max"},
    },
}
SIX = ("nmi", "asw_label", "asw_batch", "graph_conn", "cc_cons", "ti_cons_batch_mean")
PUBLISHED = ROOT / "results" / "published" / "published.csv"


def run(method, score, seed=0, **changed):
    """A finished run; a float is its RMSE, a dict its scores (text: why there is none)."""
    scores = score if isinstance(score, dict) else {"rmse": score}
    return {
        "status": "ok",
        "message": "",
        "task": "predict_modality",
        "dataset": "cells",
        "subtask": "GEX2ADT",
        "direction": "from_gex",
        "method": method,
        "kind": "method",
        "seed": seed,
        "scores": {
            name: {"value": None, "reason": value}
            if isinstance(value, str)
            else {"value": value, "reason": ""}
            for name, value in scores.items()
        },
        "interval": {},
        "transductive": False,
        "label_supervised": False,
        "normalization": {"ADT": "clr", "GEX": "log_library"},
        "protocol": "",
        "config_hash": "c0ffee123456",
        "data_hash": "da7a" * 16,
        "device": "cpu",
        "seconds": 2.0,
        "peak_memory_gb": 0.5,
        "parameters": 10,
        "n_train": 70,
        "n_test": 30,
        "finished": "2026-01-01T00:00:00Z",
    } | changed


def failure(method, **changed):
    """A failed run as it is written when the data could not even be read."""
    kept = {
        k: v for k, v in run(method, 0.0).items() if k in ("task", "dataset", "direction", "method", "kind")
    }
    late = {"status": "failed", "message": "boom", "subtask": "from_gex", "seed": 0, "finished": "2026-02-01"}
    return kept | late | changed


def embedding(method, value, lacking=(), **changed):
    scores = {name: f"no {name}" if name in lacking else value for name in SIX} | {"mean": value}
    return run(method, scores, task="joint_embedding", subtask="GEX-ADT", **changed)


def study():
    """Two methods that tie, a third, one worse than every control, and three controls."""
    handed = {"kind": "control", "transductive": True, "label_supervised": True}
    return [
        *(run("a", value, seed) for seed, value in enumerate((0.2, 0.4, 0.6))),
        run("b", 0.3, 0, interval={"rmse": [0.1, 0.5]}, seconds=1.0, peak_memory_gb=0.25),
        run("b", 0.5, 1, interval={"rmse": [0.3, 0.7]}, seconds=2.0, peak_memory_gb=0.75),
        run("c", 0.9),
        run("worst", 1.5),
        run("zeros", 1.2, kind="control"),
        run("mean", 0.8, kind="control"),
        run("solution", 0.2, **handed),
    ]


def pick(table, method, metric="rmse", **where):
    rows = table[(table["method"] == method) & (table["metric"] == metric)]
    for column, value in where.items():
        rows = rows[rows[column] == value]
    assert len(rows) == 1
    return rows.iloc[0]


def standings(records):
    return statistics.standings(records, METRICS)


def render(records, published=None):
    """Name and content of every file of the leaderboard."""
    ours = standings(records)
    return write.tables(ours, boards(ours, METRICS), published, METRICS, records)


def page(records, task="predict_modality", published=None):
    """The page of one task's runs."""
    return Page(render([r for r in records if r["task"] == task], published)["index.html"])
