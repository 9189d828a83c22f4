"""Arguments of the command line."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scmobench import __version__
from scmobench.cli import commands, datasets
from scmobench.cli.commands import COMMITTED

TASKS = ("predict_modality", "match_modality", "joint_embedding")
Add = Callable[..., Any]


def parsed(arguments: list[str]) -> argparse.Namespace:
    """Options and overrides in any order; argparse itself wants all overrides in one place."""
    parser = _parser()
    options, rest = parser.parse_known_args(arguments)
    if rest and not (hasattr(options, "override") and all("=" in o and o[0] != "-" for o in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        options.override += rest
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="scmobench", description="A reproducible benchmark of multimodal single-cell integration."
    )
    parser.add_argument("--version", action="version", version=f"scmobench {__version__}")
    choices = parser.add_subparsers(required=True, metavar="COMMAND")
    for arguments in (
        _run,
        _models,
        _metrics,
        _data,
        _score,
        _compare,
        _leaderboard,
        _figures,
        _submit,
        _validate,
    ):
        name = arguments.__name__.strip("_")
        made = choices.add_parser(name, help=arguments.__doc__, add_help=name != "run")
        made.set_defaults(command=datasets.data if name == "data" else getattr(commands, name))
        arguments(made.add_argument)
    return parser


def _path(text: str) -> Path:
    return Path(text).expanduser()


H5AD = {"required": True, "type": _path, "help": "h5ad in the competition's layout"}


def _run(add: Add) -> None:
    """make a run or, with -m, several: scmobench run model=knn dataset=mini_cite"""


def _models(add: Add) -> None:
    """list the methods and controls"""
    add("task", nargs="?", choices=TASKS, help="those of one task")


def _metrics(add: Add) -> None:
    """list the metrics"""
    add("task", nargs="?", choices=TASKS, help="those of one task")


def _score(add: Add) -> None:
    """score a prediction from any source against a solution"""
    add("--json", action="store_true", help="print JSON")
    add("--task", required=True, choices=TASKS)
    add("--prediction", **H5AD)
    add("--solution", **H5AD)


def _compare(add: Add) -> None:
    """say which of two predictions of the same cells is better, and how surely"""
    add("--json", action="store_true", help="print JSON")
    add("--task", required=True, choices=TASKS[:2])
    add("--predictions", nargs=2, metavar=("A", "B"), **H5AD)
    add("--solution", **H5AD)


def _leaderboard(add: Add) -> None:
    """make the tables from records"""
    add("--records", nargs="+", type=_path, default=COMMITTED, help="folders of runs or of kept records")
    add("--out", type=_path, help="folder of the tables (default: RECORDS/leaderboard)")
    add("--readme", type=_path, help="also write the tables into this file, between its markers")
    add("--methods", type=_path, help="also write the page of methods there")
    add("--check", action="store_true", help="write nothing; fail if a table is not current")
    add("--keep", type=_path, metavar="FOLDER", help="first keep the records there, as JSON lines")
    add("--compare", type=_path, metavar="FOLDER", help="compare with the records kept there")
    add("--submissions", type=_path, metavar="FOLDER", help="also score the archives of `submit` there")
    add("--paper", action="store_true", help="print the tables of the scMoGNN paper beside runs on its data")


def _figures(add: Add) -> None:
    """make pictures of cells from the predictions of kept runs"""
    add("--runs", nargs="+", type=_path, default=[Path("runs")], help="folders of runs (default: runs)")
    add("--out", type=_path, default=Path("runs/figures"), help="their folder (default: runs/figures)")


def _submit(add: Add) -> None:
    """pack predictions from outside, and a card of the method, into an archive for `leaderboard`"""
    add("predictions", nargs="+", type=_path, help="h5ad in the competition's layout, one a seed")
    add("--name", required=True, help="of the method, in the tables")
    add("--task", required=True, choices=TASKS)
    add("--dataset", required=True, help="a name of `scmobench data list`")
    add("--direction", default="from_gex", help="from_gex (default) or to_gex")
    for text in ("authors", "description", "licence"):
        add(f"--{text}", required=True)
    add("--link", default="", help="https://… of a paper or of the code")
    add("--transductive", action="store_true", help="the fit saw the test cells' inputs")
    add("--label-supervised", action="store_true", help="the fit saw training cells' labels")
    add("--seeds", nargs="+", type=int, help="of the predictions (default: 0, 1, …)")
    add("--out", type=_path, metavar="FILE", help="the archive (default: NAME-TASK-DATASET-DIRECTION.zip)")


def _data(add: Add) -> None:
    """list, fetch, check, describe or export data sets"""
    add("action", choices=("list", "fetch", "check", "describe", "export"), help="what to do")
    add("dataset", nargs="?", help="a name of `scmobench data list`")
    add("override", nargs="*", help="e.g. dataset.path=my/folder")
    add("--task", choices=TASKS, help="task of competition data or of an export (default: predict_modality)")
    add("--direction", help="export: from_gex (default) or to_gex")
    add("--out", type=_path, metavar="FOLDER", help="export: folder of the inputs and of solution.h5ad")


def _validate(add: Add) -> None:
    """build everything that a run would need, and fit nothing"""
    add("override", nargs="*", help="as for run; none: all data sets and models")
    add("--config-dir", type=_path, metavar="FOLDER", help="as for run: your own YAML")
