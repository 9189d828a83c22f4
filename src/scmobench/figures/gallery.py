"""The gallery: every picture of some runs, in files, and the list that a page reads to show them."""

import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from anndata import AnnData
from matplotlib.figure import Figure

from scmobench.experiment.kept import Kept
from scmobench.figures import cells, drawing, style
from scmobench.figures.answers import ALWAYS, ComparedRuns, problems
from scmobench.leaderboard.roster import number
from scmobench.machine.files import file_name, whole
from scmobench.types import NotApplicable

LIST = "figures.json"
NAMED = 7  # features at each end
WORDS = {"GEX": "genes", "ADT": "proteins", "ATAC": "peaks"}
MEASURE = {"predict_modality": "RMSE", "match_modality": "accuracy", "joint_embedding": "loss"}
COLOURED = (("cell_type", "cell types", "nmi", "NMI"), ("batch", "batches", "asw_batch", "batch ASW"))
Answers = Sequence[tuple[Kept, AnnData]]
IDENTITY = ("method", "seed", "config_hash", "data_hash", "prediction_hash")


@dataclass
class Picture:
    """A drawing, what it shows in words, and the runs it was made from."""

    kind: str
    title: str
    alt: str
    drawn: Figure
    runs: Sequence[Kept]
    part: str = ""  # tells pictures of one kind apart


def figures(folders: Iterable[Path], out: Path) -> list[Path]:
    """Make all pictures of the runs below some folders, and the list of them.

    Returns the files, the list last. ``out`` is the folder of the pictures. Those that its list names and
    that are not made again are removed. Raises what `scmobench.figures.answers.problems` raises.
    """
    entries, files = [], {}
    for problem in problems(list(folders)):
        with style.styled():
            for picture in pictures(problem):
                entry = _entry(problem, picture)
                entries.append(entry)
                files[out / entry["file"]] = style.webp(picture.drawn)
    for old in _listed(out) - set(files):
        old.unlink(missing_ok=True)
    files[out / LIST] = (json.dumps(entries, indent=1, ensure_ascii=False) + "\n").encode()
    for path, content in files.items():
        with whole(path) as partial:
            partial.write_bytes(content)
    return list(files)


def pictures(problem: ComparedRuns) -> Iterator[Picture]:
    """The pictures of one problem; one that the data do not support is left out with a line."""
    answers = problem.answers()
    if answers:
        makers = {"predict_modality": _prediction, "match_modality": _matching, "joint_embedding": _embedding}
        try:
            yield from makers[problem.plan.task.name](problem, answers)
        except NotApplicable as reason:
            print(f"no picture of {' '.join(problem.place)}: {reason}", file=sys.stderr)
    yield from _training(problem)


def _embedding(problem: ComparedRuns, answers: Answers) -> Iterator[Picture]:
    obs = problem.plan.problem.solution.obs
    names = {"gex_only": "RNA alone", "mod2_only": f"{WORDS[problem.plan.cells.pair[1]]} alone"}
    layouts: dict[str, np.ndarray] = {}
    for run, prediction in answers:
        first = next(iter(layouts.values()), None)
        mark = " (L)" if run.get("label_supervised") else ""
        layouts[names.get(run["method"], run["method"] + mark)] = cells.layout(prediction, first)
    runs = [run for run, _ in answers]
    for column, words, metric, label in COLOURED:
        if column not in obs:
            continue
        values = {title: number(run["scores"].get(metric)) for title, run in zip(layouts, runs, strict=True)}
        texts = {title: f"{v:.2f}" for title, v in values.items() if v is not None}
        panels = {t: (places, f"{label} {texts[t]}" if t in texts else "") for t, places in layouts.items()}
        told = ", ".join(f"{title} {text}" for title, text in texts.items())
        groups = obs[column].astype("object")
        shades = drawing.colours(groups)
        alt = f"UMAPs of {len(obs)} cells, coloured by {len(shades)} {words}, one panel a method"
        alt += f"; {label} (1 is best): {told}." if told else "."
        drawn = drawing.umaps(panels, groups, shades)
        yield Picture("umap", f"Cells, coloured by {column.replace('_', ' ')}", alt, drawn, runs, column)


def _prediction(problem: ComparedRuns, answers: Answers) -> Iterator[Picture]:
    solution = problem.plan.problem.solution
    found = {run["method"]: cells.correlations(solution, prediction) for run, prediction in answers}
    what = WORDS[problem.plan.problem.data.subtask.partition("2")[2]]
    first = next(iter(found.values()))
    mean = first.assign(r=pd.concat([table["r"] for table in found.values()], axis=1).mean(axis=1))
    best, worst = cells.extremes(mean, NAMED)
    medians = ", ".join(f"{method} {table['r'].median():.2f}" for method, table in found.items())
    ends = ", worst ".join(f"{name} ({mean['r'][name]:.2f})" for name in (*best[:1], *worst[-1:]))
    alt = (
        f"Correlation of predicted and measured values of {len(first)} {what} in {solution.n_obs} test "
        f"cells; median: {medians}; best {ends} on average."
    )
    drawn = drawing.features({m: t["r"] for m, t in found.items()}, [*best, *worst], solution.n_obs, what)
    title = f"Which {what} can be predicted"
    yield Picture("features", title, alt, drawn, [run for run, _ in answers])
    yield _scatter(problem, answers[0], first["r"], [*best[:1], *worst[-1:]], what)


def _scatter(
    problem: ComparedRuns, answer: tuple[Kept, AnnData], r: pd.Series, named: Sequence[str], what: str
) -> Picture:
    """Predicted against measured for the best and the worst feature."""
    solution, (run, prediction) = problem.plan.problem.solution, answer
    panels = {}
    for name in named:
        column = solution.var_names.get_loc(name)
        both = (sp.csc_matrix(X)[:, [column]].toarray() for X in (solution.X, prediction.X))
        panels[name] = (*(values.ravel() for values in both), f"r = {r[name]:.2f}".replace("-", "−"))
    obs = problem.plan.cells.obs
    types = obs.get("cell_type", pd.Series(what, obs.index)).astype("object")
    drawn = drawing.scatters(panels, types.loc[solution.obs_names], drawing.colours(types), run["method"])
    told = ", the worst ".join(f"{name} (r = {r[name]:.2f})" for name in named)
    alt = f"Predicted by {run['method']} against measured in {solution.n_obs} test cells: "
    alt += f"the best of {what} {told}."
    return Picture("scatter", "Predicted against measured: best and worst", alt, drawn, [run])


def _matching(problem: ComparedRuns, answers: Answers) -> Iterator[Picture]:
    solution = problem.plan.problem.solution
    tables = [(run, cells.success(solution, prediction)) for run, prediction in answers]
    methods = {run["method"]: table for run, table in tables if run["kind"] == "method"}
    control = next((table for run, table in tables if run["kind"] == "control"), None)
    best = {method: table.loc[table["partner"].idxmax()] for method, table in methods.items()}
    told = (f"{m} {row['partner']:.2f} and {row['type']:.2f} on {row.name}" for m, row in best.items())
    alt = (
        "Probability of a cell's true partner, and of any cell of its type, by cell type; the type with the "
        f"best partners: {', '.join(told)}."
    )
    drawn = drawing.success(methods, control)
    yield Picture("cell_types", "Success by cell type", alt, drawn, [run for run, _ in answers])


def _training(problem: ComparedRuns) -> Iterator[Picture]:
    runs = {str(run["seed"]): run for run in problem.runs.get(ALWAYS, ())}
    curves = {seed: c for seed, run in runs.items() if (c := cells.curve(run.where.parent)) is not None}
    if curves:
        best = {seed: (run.get("report") or {}).get("best_epoch") for seed, run in runs.items()}
        measure = MEASURE[problem.plan.task.name]
        kept = ", ".join(f"{c.get(best[s], c.iloc[-1]):.3f} at epoch {best[s]}" for s, c in curves.items())
        alt = f"Validation {measure} of {ALWAYS} by epoch, {len(curves)} seeds; kept: {kept}."
        drawn = drawing.training(curves, best, measure)
        yield Picture("training", f"Training of {ALWAYS}", alt, drawn, [runs[seed] for seed in curves])


def _entry(problem: ComparedRuns, picture: Picture) -> dict[str, Any]:
    """What the list tells about a picture."""
    place, (width, height) = problem.place, picture.drawn.canvas.get_width_height()
    parts = filter(None, [*place, picture.kind, picture.part])
    return {
        **dict(zip(("task", "dataset", "direction"), place, strict=True)),
        "kind": picture.kind,
        "title": picture.title,
        "alt": picture.alt,
        "file": file_name("-".join(parts), ".webp"),
        "width": width,
        "height": height,
        "records": [{key: run.get(key) for key in IDENTITY} for run in picture.runs],
    }


def _listed(out: Path) -> set[Path]:
    """Pictures that the list in a folder names, and no other file."""
    try:
        entries = json.loads((out / LIST).read_bytes())
        names = [Path(str(entry["file"])) for entry in entries]
    except (OSError, ValueError, KeyError, TypeError):
        return set()
    return {out / name for name in names if name.name == str(name) and name.suffix == ".webp"}
