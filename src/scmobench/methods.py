"""The page of methods: what each is, where it comes from, its settings, flags and cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from omegaconf import OmegaConf

from scmobench.config import conf_dir
from scmobench.roster import Record
from scmobench.tables import TITLES
from scmobench.types import TASKS

NOT_SETTINGS = ("_target_", "trainer")
HEAD = """# Methods

Generated from `conf/model` and the kept records by `scmobench leaderboard`: do not edit. Settings are the
defaults; values found by validation on a dataset are in `conf/tuned/<method>/<dataset>.yaml`. *T*: sees the
test cells' inputs while it learns; *L*: sees the training cells' labels. Cost: median of the kept runs on the
largest dataset they cover, on the threads that the records name (one, in sweeps;
not named in older records).
"""


def methods_page(records: Iterable[Record], folder: str | Path | None = None) -> str:
    """Markdown of all methods, task by task, methods before controls.

    Parameters
    ----------
    records : where flags and cost are read.
    folder : of the models' YAML files; by default the package's.
    """
    models = [_read(path) for path in sorted(Path(folder or conf_dir() / "model").glob("*.yaml"))]
    done = [r for r in records if r["status"] == "ok"]
    parts = [HEAD]
    for task in TASKS:
        parts.append(f"\n## {TITLES[task]}\n")
        serving = [m for m in models if task in m]
        for model in sorted(serving, key=lambda m: (m.get("kind") == "control", m["name"])):
            parts.append(_entry(model, task, [r for r in done if _is(r, model["name"], task)]))
    return "\n".join(parts)


def _entry(model: Mapping[str, Any], task: str, runs: list[Record]) -> str:
    settings = {k: v for k, v in model[task].items() if k not in NOT_SETTINGS}
    kind = "control" if model.get("kind") == "control" else "method"
    lines = [
        f"### {model['name']}",
        "",
        model.get("description", ""),
        "",
        f"- source: {model.get('source', 'not stated')}",
        f"- {kind}; code: `{model[task]['_target_']}`",
        f"- settings: {_settings(settings)}",
        f"- settings chosen by: {_tuning(model, task, runs)}",
        f"- flags: {_flags(runs)}",
        f"- cost: {_cost(runs)}",
    ]
    if needs := model.get("requires"):
        extras = sorted(set(needs.values()))
        lines.append(f"- needs {', '.join(needs)}: `pip install -e '.[{','.join(extras)}]'`")
    return "\n".join(lines) + "\n"


def _tuning(model: Mapping[str, Any], task: str, runs: list[Record]) -> str:
    """How the YAML's settings were chosen, and those of data sets that have their own."""
    usual = (model.get("tuning") or {}).get(task, "not stated")
    others: dict[str, set[str]] = {}
    for run in runs:
        if run.get("tuning") and run["tuning"] != usual:
            others.setdefault(run["tuning"], set()).add(run["dataset"])
    return "; ".join([usual, *(f"on {', '.join(sorted(on))}: {how}" for how, on in sorted(others.items()))])


def _settings(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"`{key}={_value(value)}`" for key, value in settings.items()) or "none"


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
    """Median seconds and gigabytes on the dataset with the most cells."""
    if not runs:
        return "—"
    largest = max(runs, key=lambda r: ((r["n_train"] or 0) + (r["n_test"] or 0), r["dataset"]))
    same = [r for r in runs if (r["dataset"], r["subtask"]) == (largest["dataset"], largest["subtask"])]
    seconds, memory = (median(r[key] for r in same) for key in ("seconds", "peak_memory_gb"))
    return (
        f"{seconds:.3g} s and {memory:.2g} GB on {largest['dataset']} ({largest['subtask']}, n = {len(same)})"
    )


def _is(record: Record, name: str, task: str) -> bool:
    return record["task"] == task and record["method"] == name


def _read(path: Path) -> dict[str, Any]:
    return OmegaConf.to_container(OmegaConf.load(path), resolve=False)
