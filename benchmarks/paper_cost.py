"""What `make reproduce-paper` costs on this device: hours, memory and disk, printed before it starts.

    python benchmarks/paper_cost.py [--device cpu]

A step of the published training was measured (results/speed): on a GPU with the official CITE shape
(`gpu.json`), on a CPU with its training cells (`training_step_scaling.json`). Times of other shapes and
widths are extrapolated: they grow with edges and with the width of the states. The host's memory is of
`full_size.csv`.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path
from typing import Any, NamedTuple

SPEED = Path(__file__).resolve().parents[1] / "results" / "speed"
EVALUATION = 1 / 3  # of a step: the forward pass alone
MOST_GB = 20  # the goal for every step at full size


class Runs(NamedTuple):
    """Runs of one subtask with the published settings, as the sweeps `paper_*` make them.

    Attributes
    ----------
    runs : at most: members of ensembles that are single runs of the table are not repeated.
    edges : of the whole graph.
    hidden : width of the states.
    least, most : epochs of a run; one is a step and an evaluation.
    """

    subtask: str
    runs: int
    edges: float
    hidden: int
    least: int
    most: int


CITE, MULTIOME = 81241 * 13953 * 0.09, 62501 * 13431 * 0.09
TABLE = (
    Runs("GEX2ADT", 5 + 12, CITE, 256, 1700, 15000),
    Runs("ADT2GEX", 5, 81241 * 134, 48, 1800, 15000),
    Runs("GEX2ATAC", 5 + 12, MULTIOME, 48, 1800, 15000),
    Runs("ATAC2GEX", 5, 62501 * 10000 * 0.03, 48, 2500, 3000),
)
# `data fetch` calls, and stored values of each: 8 bytes in X and 8 in the counts, before compression
FILES = {"CITE": (4, CITE + 81241 * 134), "Multiome": (3, MULTIOME + 62501 * 116490 * 0.03)}


class Step(NamedTuple):
    """A measured whole-graph step: its seconds, those of the smallest graph, edges and width, and where."""

    seconds: float
    least: float
    edges: float
    hidden: int
    device: str
    memory: str


def measured_step(cuda: bool, speed: Path = SPEED) -> Step:
    """The step that was measured nearest to the official shape on such a device."""
    if cuda:
        found = json.loads((speed / "gpu.json").read_text())
        row = found["large_steps"]["32-true, edge dropout 0.4"]
        memory = f"{row['data_gb'] + row['reserved_beyond_gb']:.1f} GB on the GPU (width 48)"
        least = found["steps"]["prediction GEX2ADT, all cells, captured"]  # here launches take the time
        edges = 81241 * 13953 * 0.1
        return Step(row["milliseconds"] / 1000, least / 1000, edges, 48, found["card"], memory)
    found = json.loads((speed / "training_step_scaling.json").read_text())
    row = max((sizes["fused"] for sizes in found.values()), key=lambda sizes: sizes["edges"])
    memory = f"{row['peak_gb']:.1f} GB for a step of {row['cells']:,} cells"
    return Step(row["seconds_median"], 0.0, row["edges"], 48, f"{row['threads']} CPU threads", memory)


def hours(runs: Runs, step: Step) -> tuple[float, float]:
    """Hours of all runs of a subtask, with the least and the most epochs."""
    ratio = runs.edges / step.edges * runs.hidden / step.hidden
    seconds = max(step.seconds * ratio, step.least) * (1 + EVALUATION)
    return tuple(runs.runs * epochs * seconds / 3600 for epochs in (runs.least, runs.most))


def full_size(speed: Path = SPEED) -> list[dict[str, Any]]:
    """What was measured at full size: rows of `full_size.csv`."""
    path = speed / "full_size.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [r for r in csv.DictReader(file) if r["status"] == "ok" and int(r["cells"]) > 60000]


def other_tasks(speed: Path = SPEED) -> str:
    """What one epoch of matching and of embedding took on one CPU thread, with their inputs."""
    told = []
    for task, runs in {"match_modality": 20, "joint_embedding": 5}.items():
        ours = (r for r in full_size(speed) if (r["stage"], r["method"]) == (task, "scmognn, published"))
        found = [f"{float(r['cpu_seconds']):,.0f} s ({r['kind']})" for r in ours]
        first = " and ".join(found) or "not measured at full size"
        told.append(f"{task} {runs} runs, first epoch and its inputs on one CPU thread: {first}")
    return "\n  ".join(told)


def host_memory(speed: Path = SPEED) -> str:
    """The highest peak that was measured at full size, and where."""
    rows = full_size(speed)
    if not rows:
        return f"not measured at full size; {MOST_GB} GB are the goal"
    most = max(rows, key=lambda r: float(r["peak_gb"]))
    what = " ".join(filter(None, (most["stage"], most["method"])))
    told = f"{float(most['peak_gb']):.1f} GB is the highest measured at full size ({what})"
    return f"{told}; steps that were not measured may need more"


def lines(cuda: bool, speed: Path = SPEED) -> list[str]:
    """The forecast, line by line."""
    step = measured_step(cuda, speed)
    told = [f"reproduce-paper on {step.device}, from a step of {step.edges:.3g} edges: {step.seconds:.3g} s"]
    totals = [0.0, 0.0]
    for runs in TABLE:
        least, most = hours(runs, step)
        totals = [totals[0] + least, totals[1] + most]
        told.append(f"  {runs.subtask:<9}{runs.runs:>3} runs  {least:,.1f} to {most:,.1f} h (extrapolated)")
    told.append(f"  {other_tasks(speed)}")
    told.append(
        f"  prediction in all: {totals[0]:,.0f} to {totals[1]:,.0f} h, as validation ends the training"
    )
    told.append(f"  memory: {step.memory}; on the host {host_memory(speed)}")
    disk = sum(sets * values * 16e-9 for sets, values in FILES.values())
    free = shutil.disk_usage(Path.cwd()).free / 1e9
    told.append(f"  disk: up to {disk:.0f} GB of official files (calculated), {free:,.0f} GB are free here")
    if totals[1] > 24 * 14:
        told.append(
            "  more than two weeks: take a GPU, or a part, e.g. scmobench run sweep=paper_match_modality"
        )
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), help="default: a GPU where there is one")
    device = parser.parse_args().device
    if device is None:
        import torch

        device = "cuda" if torch.cuda.is_available() else "cpu"
    print("\n".join(lines(device == "cuda")), flush=True)


if __name__ == "__main__":
    main()
