"""Arguments of the command line."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from scmobench import __version__
from scmobench.cli import commands

TASKS = ("predict_modality", "match_modality", "joint_embedding")


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

    def add(name: str, command: Callable[[Any], None], words: str) -> Callable[..., Any]:
        made = choices.add_parser(name, help=words, add_help=name != "run")
        made.set_defaults(command=command)
        return made.add_argument

    def path(text: str) -> Path:
        return Path(text).expanduser()

    h5ad = {"required": True, "type": path, "help": "h5ad in the competition's layout"}
    add(
        "run",
        commands.run,
        "run an experiment or, with -m, a sweep: scmobench run task=… dataset=… model=… seed=…",
    )

    score = add("score", commands.score, "score a prediction from any source against a solution, as JSON")
    score("--task", required=True, choices=TASKS)
    score("--prediction", **h5ad)
    score("--solution", **h5ad)

    compare = add("compare", commands.compare, "test two predictions of the same cells (Wilcoxon), as JSON")
    compare("--task", required=True, choices=TASKS[:2])
    compare("--predictions", nargs=2, metavar=("A", "B"), **h5ad)
    compare("--solution", **h5ad)

    board = add("leaderboard", commands.leaderboard, "make the tables from records")
    board(
        "--records",
        nargs="+",
        type=path,
        default=commands.COMMITTED,
        help="folders of runs or of kept records",
    )
    board("--out", type=path, help="folder of the tables (default: RECORDS/leaderboard)")
    board("--readme", type=path, help="also write the tables into this file, between its markers")
    board("--methods", type=path, help="also write the page of methods there")
    board("--check", action="store_true", help="write nothing; fail if a table is not current")
    board("--keep", type=path, metavar="FOLDER", help="first keep the records there, as JSON lines")
    board("--compare", type=path, metavar="FOLDER", help="compare with the records kept there")

    data = add("data", commands.data, "list, fetch, check, describe or export data sets")
    data("action", choices=("list", "fetch", "check", "describe", "export"), help="what to do")
    data("dataset", nargs="?", help="a name of `scmobench data list`")
    data("override", nargs="*", help="e.g. dataset.path=my/folder")
    data("--task", choices=TASKS, help="task of competition data or of an export (default: predict_modality)")
    data("--direction", help="export: from_gex (default) or to_gex")
    data("--out", type=path, metavar="FOLDER", help="export: folder of the inputs and of solution.h5ad")

    validate = add("validate", commands.validate, "build everything that a run would need, and fit nothing")
    validate("override", nargs="*", help="as for run; none: all data sets and models")
    validate("--config-dir", type=path, metavar="FOLDER", help="as for run: your own YAML")
    return parser
