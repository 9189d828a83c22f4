"""What ``scmobench data`` does with data sets."""

import argparse
import json
import shlex
from pathlib import Path
from typing import Any


def data(options: argparse.Namespace) -> None:
    from scmobench.data.source import Source
    from scmobench.experiment.config import build, compose

    if options.action == "list":
        if name := options.dataset:
            raise ValueError(f"expected nothing after `data list`, found {name}: see `data describe {name}`")
        _list_data(options.config_dir)
        return
    name = (options.dataset or "").removeprefix("dataset=")  # as `run` takes it
    if not name or "=" in name:
        told = f"expected a dataset after `data {options.action}`{name and f', found {name}'}"
        own = shlex.join(["scmobench", "data", options.action, "own", *filter(None, [name])])
        raise ValueError(f"{told}: see `scmobench data list`; for your own cells: {own}")
    exports = options.action == "export"
    if exports and not options.out:
        raise ValueError("expected --out FOLDER, where `data export` writes the task's files")
    if not exports and (options.out or options.direction):
        raise ValueError("--out and --direction are of `data export`: leave them out")
    given = {"dataset": name, "task": options.task, "direction": options.direction}
    overrides = [*(f"{key}={value}" for key, value in given.items() if value), *options.override]
    if exports:
        from scmobench.experiment.exchange import export

        print(*export(overrides, options.out, options.config_dir), sep="\n")
        return
    source = build(compose(overrides, options.config_dir).dataset, Source)
    if options.action == "fetch":
        print(source.fetch() or f"{name}: nothing to fetch, it is made when it is asked for")
    elif options.action == "check":
        print(_checked_data(source.describe()))
    else:
        print(json.dumps(source.describe(), indent=1, default=str))


def _list_data(folder: Path | None) -> None:
    """Every data set, also the user's own in ``folder``: what it is, and whether its files are at hand."""
    from scmobench.data.source import Source
    from scmobench.experiment.config import build, compose, headlines
    from scmobench.machine import terminal

    rows = []
    own = headlines(folder.resolve() / "dataset") if folder else {}
    for name, words in (headlines("dataset") | own).items():
        source = build(compose([f"dataset={name}"], folder).dataset, Source)
        rows.append((name, source.at_hand(), words))
    terminal.table(rows, ("data set", "at hand", "what it is"))


def _checked_data(about: dict[str, Any]) -> str:
    """What `Source.describe` tells of cells that passed all checks, in five lines."""
    from scmobench.machine.terminal import visible

    features = " and ".join(f"{number:,} {kind}" for kind, number in about["features"].items()) + " features"
    if about["features"]["GEX"] < about["features"].get("ADT", 0):
        features += ": more proteins than genes, are they exchanged?"
    kinds = {"cell_type": "types", "phase": "phases"}
    labels = [f"{name} ({number:,} {kinds.get(name, 'cells')})" for name, number in about["labels"].items()]
    batches, mixed = [], False
    for name, number in about["batches"].items():
        test = about["test_by_batch"].get(name, 0)
        mixed |= 0 < test < number
        held_out = "" if not test else ", test" if test == number else f", {test:,} test"
        batches.append(f"{visible(name)} ({number:,}{held_out})")
    split = f"{about['train']:,} training, {about['test']:,} test, {about['scored']:,} scored"
    if mixed and len(batches) > 1:
        split += "; some batches are on both sides, as is_train says"
    if "batch_columns" in about:
        found = ", ".join(map(visible, about["batch_columns"]))
        batches = [f"no batch column given: random split{found and f'; columns that could be one: {found}'}"]
    return "\n".join(
        (
            f"{about['name']}: ok, sha256 {about['hash']}",
            f"  cells     {about['cells']:,} with {features}",
            f"  split     {split}",
            f"  batches   {', '.join(batches)}",
            f"  labels    {', '.join(labels) or 'none, so that few metrics can score an embedding'}",
        )
    )
