"""The page of methods: what each is, where it comes from, its settings, flags and cost."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from scmobench.experiment.config import conf_dir
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.roster import FLAGS, Record
from scmobench.leaderboard.tables import TITLES

NOT_SETTINGS = ("_target_", "trainer")
MEASURED = ["task", "dataset", "subtask", "method", *FLAGS, "seconds", "peak_memory_gb", "n_train", "n_test"]


def methods_page(records: Iterable[Record], folder: str | Path | None = None) -> str:
    """Markdown of all methods, task by task, methods before controls, then the ensembles.

    Parameters
    ----------
    records : flags and cost are read from them.
    folder : with ``model``, ``tuned`` and ``ensemble`` YAML files; by default the package's ``conf``.
    """
    folder = Path(folder or conf_dir())
    runs = pd.DataFrame([run for run in records if run["status"] == "ok"], columns=MEASURED)
    models = sorted(_yaml(folder / "model").values(), key=lambda m: (m.get("kind") == "control", m["name"]))
    own = {model["name"]: _yaml(folder / "tuned" / model["name"]) for model in models}
    return filled(
        "methods.md.jinja",
        titles=TITLES,
        models=models,
        tuned={name: {dataset: node["model"] for dataset, node in of.items()} for name, of in own.items()},
        ensembles=_yaml(folder / "ensemble").values(),
        members=lambda ensemble: Counter(" ".join(member) for member in ensemble["members"]),
        runs_of=lambda name, task: runs[(runs["method"] == name) & (runs["task"] == task)],
        runs_of_ensemble=lambda name: runs[runs["method"].str.split("+").str[-1] == name],
        settings=_settings,
        tuning=lambda model, task: model.get("tuning", {}).get(task, "not stated"),
        flags=_flags,
        cost=_cost,
    )


def _yaml(folder: Path) -> dict[str, dict[str, Any]]:
    """What the YAML files of a folder hold, by their names."""
    paths = sorted(folder.glob("*.yaml"))
    return {path.stem: OmegaConf.to_container(OmegaConf.load(path), resolve=False) for path in paths}


def _settings(settings: Mapping[str, Any]) -> str:
    shown = {key: value for key, value in settings.items() if key not in NOT_SETTINGS}
    return ", ".join(f"`{key}={_value(value)}`" for key, value in shown.items()) or "none"


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{k}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_value, value)) + "]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return value if isinstance(value, str) else f"{value:.10g}"


def _flags(runs: pd.DataFrame) -> str:
    if runs.empty:
        return "—"
    letters = dict(zip(FLAGS, "TL", strict=True))
    return ", ".join(letter for flag, letter in letters.items() if (runs[flag] == True).any()) or "none"  # noqa: E712


def _cost(runs: pd.DataFrame) -> str:
    """Median seconds and gigabytes on the two data sets with the most cells, of the longest subtask."""
    label = runs["task"] + " " + runs["subtask"] if runs["task"].nunique() > 1 else runs["subtask"]
    cells = runs["n_train"].fillna(0) + runs["n_test"].fillna(0)
    costs = (
        runs.assign(subtask=label, cells=cells.groupby(runs["dataset"]).transform("max"))
        .groupby(["cells", "dataset", "subtask"], as_index=False)
        .agg(
            n=("seconds", "size"),
            median=("seconds", "median"),
            longest=("seconds", "max"),
            memory=("peak_memory_gb", "median"),
        )
        .sort_values("median", ascending=False, kind="stable")
        .drop_duplicates("dataset")
        .sort_values(["cells", "dataset"], ascending=False)
    )
    told = []
    for row in costs.head(2).itertuples():
        n = f"n = {row.n}" + (f", longest {_seconds(row.longest)} s" if row.n > 1 else "")
        told.append(f"{_seconds(row.median)} s and {row.memory:.2g} GB on {row.dataset} ({row.subtask}, {n})")
    return "; ".join(told) or "—"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 1000 else f"{seconds:.3g}"
