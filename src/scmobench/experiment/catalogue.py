"""What there is to choose by name: data sets, models, metrics."""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from anndata import AnnData
from omegaconf import OmegaConf

from scmobench.data.annotated import unchanged
from scmobench.data.source import Source
from scmobench.experiment import evaluate
from scmobench.experiment.advice import FILES, no_such, of_row
from scmobench.experiment.arguments import quoted
from scmobench.experiment.config import build, check, compose, conf_dir, contents, names, not_installed
from scmobench.experiment.settings import checked_arguments
from scmobench.types import TASKS, Paired


def datasets() -> pd.DataFrame:
    """The data sets that `load` knows by name, with where their cells come from.

    Examples
    --------
    >>> import scmobench as sb
    >>> "mini_cite" in sb.datasets().index
    True
    """
    return _listed("dataset", contents("dataset"), ["source", "organism", "licence"])


@checked_arguments
def models(task: str | None = None) -> pd.DataFrame:
    """The methods and controls that `run` knows by name, for one task or for all.

    Raises
    ------
    ValueError : an unknown task.

    Examples
    --------
    >>> import scmobench as sb
    >>> sb.models("match_modality").loc["scmognn", "kind"]
    'method'
    """
    chosen, nodes = TASKS if task is None else [evaluate.known(task)], contents("model")
    table = _listed("model", nodes, ["kind", "description", "source"])
    table.insert(0, "tasks", [tuple(task for task in TASKS if task in node) for node in nodes.values()])
    return table[[any(task in chosen for task in tasks) for tasks in table["tasks"]]]


def lacks(model: str) -> str:
    """How to install what a model needs and this environment lacks; empty if nothing is missing."""
    return not_installed(OmegaConf.load(conf_dir() / "model" / f"{model}.yaml"))


@checked_arguments
def metrics(task: str | None = None) -> pd.DataFrame:
    """The metrics of one task or of all: label, better direction, bounds, citation; the ranking one first.

    Raises
    ------
    ValueError : an unknown task.

    Examples
    --------
    >>> import scmobench as sb
    >>> sb.metrics("predict_modality").index[0]
    'rmse'
    """
    columns = ("label", "direction", "bounds", "primary", "citation")
    rows = {
        name: {"task": each} | {column: getattr(metric, column) for column in columns}
        for each in (TASKS if task is None else [task])
        for name, metric in evaluate.metrics(each).items()
    }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def source_of(data: str | Path) -> list[str]:
    """Overrides for a data set by its name, or for cells in files. Raises ValueError for another file."""
    path, folder = Path(data), os.path.isdir(data) and data not in names("dataset")
    if way := FILES.get(path.suffix) or ("tenx" if folder else None):
        return ["dataset=own", f"dataset.{way}={quoted(path)}"]
    if path.suffix or os.sep in str(data) or isinstance(data, Path):
        files = f"the name of a data set, a file {', '.join(FILES)} or Cell Ranger's folder"
        raise ValueError(f"expected {files}, found {data}")
    return [named("dataset", data)]


def loaded(data: Any, given: Mapping[str, Any]) -> Paired:
    """Cells by the name of a data set, from files or from memory; `unchanged` ones if loaded before.

    Raises ValueError for settings that do not fit, and for cells that are not fit for a benchmark.
    """
    if isinstance(data, Paired) and not given:
        return unchanged(data)
    try:
        return _source(data, given).load()
    except ValueError as error:
        raise ValueError(_in_python(str(error))) from error


def _source(data: Any, given: Mapping[str, Any]) -> Source:
    if (name := given.get("name")) in names("dataset") and name not in (data, "own"):
        raise ValueError(f"expected a name of its own for these cells, found {name!r}, that of a shipped set")
    two = [given.get("gex"), given.get("mod2")]
    if not isinstance(data, str | Path | None) or any(isinstance(one, AnnData) for one in two):
        from scmobench.data.in_memory import Memory

        check({"_target_": "scmobench.data.in_memory.Memory"} | given, Source)
        return Memory(**({"mdata": data} | given))
    if "modalities" in given:
        raise ValueError(f"expected modalities beside a MuData, found {data}: use mudata.read(FILE)")
    cfg = compose(["dataset=own"] if data is None else source_of(data))
    return build(OmegaConf.to_container(cfg.dataset, resolve=True) | given, Source)


def named(kind: str, name: str) -> str:
    """The override that chooses by this name. Raises ValueError for a text that is no name."""
    if not re.fullmatch(r"[\w+-]+", name, re.ASCII):
        raise ValueError(no_such(kind, name, names(kind)))
    return f"{kind}={name}"


def row(name: str, task: str) -> list[str]:
    """The overrides for a model, or for a row of the tables. Raises ValueError for what is not there."""
    parts = [one.partition("=") for one in of_row(name, task)]
    return [kind + equals + word if "." in kind else named(kind, word) for kind, equals, word in parts]


def _listed(group: str, nodes: Mapping[str, Any], columns: Sequence[str]) -> pd.DataFrame:
    rows = [[node.get(column) or "" for column in columns] for node in nodes.values()]
    return pd.DataFrame(rows, pd.Index(nodes, name=group), columns)


def _in_python(message: str) -> str:
    """Advice for the command line as advice for Python: dataset.batch=donor becomes batch="donor"."""
    message = re.sub(r"'(dataset\.[^']+)'", r"\1", message)  # quotes for the shell
    message = re.sub(r"dataset\.(\w+=\{)", r"\1", message)
    message = re.sub(r"(?<=[{,])(\w+):(\w+)", r'"\1": "\2"', message)
    message = re.sub(r"dataset\.(\w+)=([\w.]+)", r'\1="\2"', message)
    message = re.sub(r'(?<=")(,| )(?="?\w+"?[=:])', ", ", message)
    for typed, meant in {"dataset.": "", '"null"': "None", '"ADT" or ATAC': '"ADT" or "ATAC"'}.items():
        message = message.replace(typed, meant)
    return message
