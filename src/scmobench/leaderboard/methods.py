"""The page of methods: what each is, where it comes from, its settings, flags and cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import OmegaConf

from scmobench.experiment.config import conf_dir
from scmobench.leaderboard.roster import Record
from scmobench.leaderboard.tables import TITLES
from scmobench.types import TASKS

NOT_SETTINGS = ("_target_", "trainer")
HEAD = """# Methods

Generated from `conf/` and the kept records by `scmobench leaderboard`: do not edit. *T*: sees the test cells'
inputs while it learns; *L*: sees the training cells' labels. Cost: median (and longest) of the kept runs
on the two largest datasets they cover, of the subtask that takes longest, on the threads that the records
name (one, in sweeps; not named in older records).
"""
ENSEMBLES = """
## Ensembles

Their members are runs like any other, at seeds of their own. `scmobench run ensemble=seeds` is how to ask.
"""


def methods_page(records: Iterable[Record], folder: str | Path | None = None) -> str:
    """Markdown of all methods, task by task, methods before controls, then the ensembles.

    Parameters
    ----------
    records : where flags and cost are read.
    folder : with ``model``, ``tuned`` and ``ensemble`` YAML files; by default the package's ``conf``.
    """
    folder = Path(folder or conf_dir())
    models = [_read(path) for path in sorted((folder / "model").glob("*.yaml"))]
    done = [r for r in records if r["status"] == "ok"]
    parts = [HEAD]
    for task in TASKS:
        parts.append(f"\n## {TITLES[task]}\n")
        serving = [m for m in models if task in m]
        for model in sorted(serving, key=lambda m: (m.get("kind") == "control", m["name"])):
            tuned = sorted((folder / "tuned" / model["name"]).glob("*.yaml"))
            parts.append(_entry(model, task, tuned, [r for r in done if _is(r, model["name"], task)]))
    ensembles = [_read(path) for path in sorted((folder / "ensemble").glob("*.yaml"))]
    parts += [ENSEMBLES, *(_ensemble(e, done) for e in ensembles if e["members"])]
    return "\n".join(parts)


def _entry(model: Mapping[str, Any], task: str, tuned: list[Path], runs: list[Record]) -> str:
    kind = "control" if model.get("kind") == "control" else "method"
    lines = [
        f"### {model['name']}",
        "",
        model.get("description", ""),
        "",
        f"- source: {model.get('source', 'not stated')}",
        f"- {kind}; code: `{model[task]['_target_']}`",
        f"- settings: {_settings(model[task])}",
        f"- settings chosen by: {_tuning(model, task)}",
        *(line for path in tuned if (line := _own_settings(path, task))),
        f"- flags: {_flags(runs)}",
        f"- cost: {_cost(runs)}",
    ]
    if needs := model.get("requires"):
        extras = sorted(set(needs.values()))
        lines.append(f"- needs {', '.join(needs)}: `pip install -e '.[{','.join(extras)}]'`")
    return "\n".join(lines) + "\n"


def _ensemble(ensemble: Mapping[str, Any], done: list[Record]) -> str:
    """``done``: all runs; those of this ensemble, whatever it is made of, end in its name."""
    runs = [r for r in done if r["method"].split("+")[-1] == ensemble["name"]]
    members = Counter("as the command line says" if not m else " ".join(m) for m in ensemble["members"])
    named = ", ".join(f"`{name}`" + (f" x {n}" if n > 1 else "") for name, n in members.items())
    lines = [f"### {ensemble['name']}", "", ensemble.get("description", ""), ""]
    lines += [f"- members: {named.replace('`as the command line says`', 'as the command line says')}"]
    lines += [f"- weights: {ensemble['weights']}", f"- flags: {_flags(runs)}", f"- cost: {_cost(runs)}"]
    return "\n".join(lines) + "\n"


def _tuning(model: Mapping[str, Any], task: str) -> str:
    """How the settings were chosen."""
    return (model.get("tuning") or {}).get(task, "not stated")


def _own_settings(path: Path, task: str) -> str:
    """Settings that a dataset has of its own, and how they were chosen; empty where it has none."""
    model = _read(path)["model"]
    if task not in model:
        return ""
    return f"- on {path.stem}: {_settings(model[task])}; {_tuning(model, task)}"


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


def _flags(runs: list[Record]) -> str:
    if not runs:
        return "—"
    flags = [("T", "transductive"), ("L", "label_supervised")]
    return ", ".join(letter for letter, key in flags if any(r.get(key) for r in runs)) or "none"


def _cost(runs: list[Record]) -> str:
    """Median seconds and gigabytes on the two datasets with the most cells, of the longest subtask."""
    groups: dict[str, dict[str, list[Record]]] = defaultdict(lambda: defaultdict(list))
    several = len({run["task"] for run in runs}) > 1
    for run in runs:
        groups[run["dataset"]][f"{run['task']} {run['subtask']}" if several else run["subtask"]].append(run)

    def cells(dataset: str) -> tuple[int, str]:
        known = (r for runs in groups[dataset].values() for r in runs)
        return max((r["n_train"] or 0) + (r["n_test"] or 0) for r in known), dataset

    told = []
    for dataset in sorted(groups, key=cells, reverse=True)[:2]:
        medians = {
            subtask: [median(r[key] for r in same) for key in ("seconds", "peak_memory_gb")]
            for subtask, same in groups[dataset].items()
        }
        subtask = max(sorted(medians), key=lambda s: medians[s][0])
        (seconds, memory), same = medians[subtask], groups[dataset][subtask]
        n = f"n = {len(same)}"
        if len(same) > 1:
            n += f", longest {_seconds(max(r['seconds'] for r in same))} s"
        told.append(f"{_seconds(seconds)} s and {memory:.2g} GB on {dataset} ({subtask}, {n})")
    return "; ".join(told) or "—"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f}" if seconds >= 1000 else f"{seconds:.3g}"


def _is(record: Record, name: str, task: str) -> bool:
    return record["task"] == task and record["method"] == name


def _read(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
