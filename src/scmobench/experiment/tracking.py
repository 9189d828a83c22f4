"""Finished runs in Weights & Biases: settings, training curves, scores and provenance."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal, get_type_hints

import pandas as pd

from scmobench.experiment.settings import fits, in_words, shown

CONFIG = ("task", "dataset", "subtask", "method", "kind", "seed", "normalization", "config", "config_hash")
CONFIG += ("data_hash", "arithmetic", "versions", "commit", "command")
OURS = ("dir", "name", "group", "tags", "config", "settings", "return")  # what `track` says
SUMMARY = ("prediction_hash", "validation", "seconds", "peak_memory_gb", "parameters", "device")


def check_tracking(settings: Mapping[str, Any] | None) -> None:
    """Raise ValueError if runs are to be tracked without the package, or with settings it does not take."""
    if not settings:
        return
    if find_spec("wandb") is None:
        raise ValueError("logger=wandb needs the package wandb: pip install 'scmobench[wandb]'")
    import wandb

    taken = get_type_hints(wandb.init) | {"project": str, "mode": Literal["offline", "online"]}
    taken = {name: kind for name, kind in taken.items() if name not in OURS}
    for name, value in settings.items():
        if name not in taken:
            raise ValueError(f"expected settings of wandb.init ({', '.join(taken)}), found wandb.{name}")
        if not fits(value, taken[name]):
            raise ValueError(f"expected wandb.{name} to be {in_words(taken[name])}, found {shown(value)}")
    if bad := set(settings.get("project", "")) & set("/\\#?%:"):
        raise ValueError(
            f"expected wandb.project without {' '.join(sorted(bad))}, found {settings['project']!r}"
        )


def track(record: Mapping[str, Any], where: Path, settings: Mapping[str, Any] | None) -> str:
    """Log a finished run, once, and return one line that says where it is.

    Runs of one method on one data set and direction share a group, so that the interface shows their mean and
    spread over seeds. Task, data set, direction and method are tags. Training curves come from the CSV logs
    below the run's folder ``where``. ``settings`` are ``project``, ``mode`` (``offline`` or ``online``) and
    further arguments of ``wandb.init``; None logs nothing.
    """
    if not settings or list(where.glob("wandb/*run-*")):
        return ""
    import wandb

    tags = [str(record[name]) for name in ("task", "dataset", "subtask", "method")]
    run = wandb.init(
        dir=where,
        name=f"{record['method']} seed {record['seed']}",
        group=" ".join(tags[1:]),
        tags=[tag[:64] for tag in tags],
        config={name: record.get(name) for name in CONFIG},
        settings=wandb.Settings(silent=True, console="off"),
        **{"mode": "offline"} | settings,
    )
    for values in curves(where / "training"):
        run.log(values)
    scores = {name: score["value"] for name, score in record["scores"].items()}
    run.summary.update(scores | {name: record.get(name) for name in SUMMARY})
    run.finish()
    (kept,) = where.glob("wandb/*run-*")
    if settings.get("mode") == "online":
        return f"wandb: {run.url}"
    return f"wandb: kept offline; this sends it: wandb sync '{kept}'"


def curves(training: Path) -> list[dict[str, float]]:
    """Rows of all training logs in a folder. The name of an inner folder stands before its values."""
    rows = []
    # the part of a log from before an interruption comes first
    for path in sorted(training.rglob("metrics*.csv"), key=lambda p: (p.parent, p.stem == "metrics", p)):
        inner = path.parent.relative_to(training).as_posix()
        before = "" if inner == "." else f"{inner}/"
        for row in pd.read_csv(path).to_dict("records"):
            rows.append({f"{before}{name}": value for name, value in row.items() if pd.notna(value)})
    return rows
