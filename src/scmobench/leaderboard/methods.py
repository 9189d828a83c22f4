"""The page of methods: what each is, where it comes from, its settings, flags and cost."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from scmobench.experiment.config import conf_dir, contents
from scmobench.leaderboard.pages import filled
from scmobench.leaderboard.roster import FLAGS, Record
from scmobench.leaderboard.tables import TITLES

NOT_SETTINGS = ("_target_", "trainer")
MEASURED = ["task", "dataset", "subtask", "method", *FLAGS, "seconds", "peak_memory_gb", "n_train", "n_test"]


def methods_page(records: Iterable[Record], folder: str | Path | None = None) -> str:
    """Markdown of all methods, task by task, methods before controls, then the ensembles.

    Flags and costs are read from ``records``. ``folder`` holds ``model``, ``tuned`` and ``ensemble`` YAML
    files; by default it is the package's ``conf``.
    """
    folder = Path(folder or conf_dir())
    runs = pd.DataFrame([run for run in records if run["status"] == "ok"], columns=MEASURED)
    models = contents(folder / "model").values()
    models = sorted(models, key=lambda model: (model.get("kind") == "control", model["name"]))
    return filled(
        "methods.md.jinja",
        titles=TITLES,
        not_settings=NOT_SETTINGS,
        models=models,
        tuned={model["name"]: contents(folder / "tuned" / model["name"]) for model in models},
        ensembles=contents(folder / "ensemble").values(),
        members=lambda ensemble: Counter(" ".join(member) for member in ensemble["members"]),
        runs_of=lambda name, task: runs[(runs["method"] == name) & (runs["task"] == task)],
        runs_of_ensemble=lambda name: runs[runs["method"].str.split("+").str[-1] == name],
        flags=_flags,
        costs=_costs,
    )


def _flags(runs: pd.DataFrame) -> str:
    letters = [letter for flag, letter in zip(FLAGS, "TL", strict=True) if runs[flag].eq(True).any()]
    return "—" if runs.empty else ", ".join(letters) or "none"


def _costs(runs: pd.DataFrame) -> Iterable[NamedTuple]:
    """Medians and longest of the longest subtask, on the two data sets with the most cells."""
    label = runs["task"] + " " + runs["subtask"] if runs["task"].nunique() > 1 else runs["subtask"]
    cells = runs["n_train"].fillna(0) + runs["n_test"].fillna(0)
    costs = runs.assign(subtask=label, cells=cells.groupby(runs["dataset"]).transform("max"))
    costs = costs.groupby(["cells", "dataset", "subtask"], as_index=False).agg(
        n=("seconds", "size"),
        median=("seconds", "median"),
        longest=("seconds", "max"),
        memory=("peak_memory_gb", "median"),
    )
    costs = costs.sort_values("median", ascending=False, kind="stable").drop_duplicates("dataset")
    return costs.sort_values(["cells", "dataset"], ascending=False).head(2).itertuples()
