"""Seconds and memory of each step at the competition's full size, on simulated cells, one process a step.

    OMP_NUM_THREADS=1 python benchmarks/full_size.py [--kinds cite multiome] [--cells 1000 5000 20000 81241]
                             [--stages load svd_linear] [--minutes 15] [--memory-gb 20] [--again]

Rows go to results/speed/full_size.csv as soon as they are measured. Steps that stand there are not repeated
without ``--again``, and steps that were not asked for are listed as ``not run``. ``seconds`` and
``cpu_seconds`` are of the step alone; ``peak_gb`` is of its process, which also holds libraries and data.
"""

import argparse
import contextlib
import csv
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

OUT = Path(__file__).resolve().parents[1] / "results" / "speed" / "full_size.csv"
KEY = ("stage", "method", "kind", "cells", "features")
COLUMNS = (*KEY, "filled", "seconds", "cpu_seconds", "peak_gb", "status", "processor", "date")
# cells, genes, features of mod2, batches: the competition's shapes; the depths fill 9 % of the genes, as in
# its files, and 4 % of the peaks
SHAPES = {"cite": (81241, 13953, 134, 12), "multiome": (62501, 13431, 116490, 13)}
UMIS, FRAGMENTS = 0.155, 0.02  # UMIs a gene; fragments a peak
TUNED = {kind: f"tuned=scmognn/neurips2021_{kind}_phase2" for kind in SHAPES}
EPOCH = "trainer.max_epochs=1"
TEST_BATCHES = 3  # of the cells, a quarter
Meter = Callable[[], contextlib.AbstractContextManager[None]]


class Place(NamedTuple):
    """The simulated cells: their kind, sizes and folder."""

    kind: str
    cells: int
    genes: int
    mod2: int
    folder: Path

    @property
    def files(self) -> tuple[Path, Path]:
        return self.folder / "gex.h5ad", self.folder / "mod2.h5ad"

    @property
    def overrides(self) -> list[str]:
        gex, mod2 = self.files
        given = ["dataset=own", f"dataset.gex={gex}", f"dataset.mod2={mod2}", "dataset.batch=batch"]
        return [
            *given,
            f"dataset.kind={'ADT' if self.kind == 'cite' else 'ATAC'}",
            "dataset.empty_features=drop",
            "dataset.empty_cells=drop",
        ]


def simulate(place: Place, meter: Meter) -> None:
    from scmobench.data.synthetic import Synthetic

    kind = {"cite": "adt", "multiome": "atac"}[place.kind]
    sizes = {"n_cells": place.cells, "n_genes": place.genes, "n_mod2": place.mod2, "n_cell_types": 25}
    depth = {"umis": UMIS * place.genes, "fragments": FRAGMENTS}
    source = Synthetic(name="full_size", mod2=kind, n_batches=SHAPES[place.kind][3], **sizes, **depth)
    with meter():
        cells = source.read()
    place.folder.mkdir(parents=True, exist_ok=True)
    for modality, file in zip((cells.mod1, cells.mod2), place.files, strict=True):
        modality.obs = cells.obs
        modality.write_h5ad(file)


def load(place: Place, meter: Meter) -> None:
    source = _source(place)
    with meter():
        source.read()


def checks(place: Place, meter: Meter) -> None:
    from scmobench.data.check import check

    cells = _source(place).read()
    with meter():
        check(cells, empty_features="drop", copy=False)


def preprocessing(place: Place, meter: Meter) -> None:
    plan = _plan(place, "svd_linear")
    assert plan.cells.hash
    with meter():
        assert plan.problem


def lsi(place: Place, meter: Meter) -> None:
    from scmobench.data.reduce import LSI

    cells = _source(place).load()
    counts, components = (cells.mod1.X, 256) if place.kind == "cite" else (cells.mod2.X, 512)
    with meter():
        LSI(min(components, min(counts.shape) - 2)).fit(counts).transform(counts)


def graph(place: Place, meter: Meter) -> None:
    from scmobench.graph.cell_feature import CellFeatureGraph
    from scmobench.tasks.base import normalized

    cells = _source(place).load()
    X, batches = normalized(cells)[0].X, cells.obs["batch"].to_numpy()
    with meter():
        CellFeatureGraph.build(X, batches=batches).tensors()


def assignment(place: Place, meter: Meter) -> None:
    import numpy as np

    from assignment import SCALE, typed
    from scmobench.models.matching.assignment import assign_softmax

    n = max(2, place.cells // (4 * TEST_BATCHES))
    sides = [typed(n) for _ in range(TEST_BATCHES)]
    left, right = (np.concatenate(parts) for parts in zip(*sides, strict=True))
    batch = np.repeat(np.arange(TEST_BATCHES).astype(str), n)
    with meter():
        assign_softmax((left * np.float32(SCALE), right), batch, batch)


def metrics(place: Place, meter: Meter, task: str) -> None:
    """All metrics of a task, with their intervals."""
    from scmobench.experiment.evaluate import evaluate, intervals

    plan, prediction = _prediction(place, task)
    checked = plan.task.check(prediction, plan.problem.solution)
    with meter():
        evaluate(task, *checked)
        intervals(task, *checked)


def writing(place: Place, meter: Meter) -> None:
    from scmobench.experiment.records import write_prediction

    _, prediction = _prediction(place, "predict_modality")
    with meter():
        write_prediction(place.folder / "prediction.h5ad", prediction)


def model(place: Place, meter: Meter, name: str, *overrides: str) -> None:
    """Fit and predict; the preparation of inputs and one evaluation belong to it."""
    from scmobench.experiment.config import build
    from scmobench.experiment.run import MODEL, respond

    plan = _plan(place, name, *overrides)
    method = build(dict(plan.settings), MODEL)
    assert plan.problem
    with meter():
        respond(method, plan.problem, 0)


def _source(place: Place) -> Any:
    from scmobench.data.source import Source
    from scmobench.experiment.config import build, compose

    return build(compose(place.overrides).dataset, Source)


def _plan(place: Place, name: str, *overrides: str) -> Any:
    from scmobench.experiment.plan import Plan

    return Plan.composed([*place.overrides, f"model={name}", *overrides])


def _prediction(place: Place, task: str) -> tuple[Any, Any]:
    """The plan, and a prediction of the full size by a control of the task."""
    from scmobench.experiment.config import build
    from scmobench.experiment.run import MODEL, respond

    name = SCORED[task]
    plan = _plan(place, name, f"task={task}")
    method = build(dict(plan.settings), MODEL)
    return plan, plan.task.pack(respond(method, plan.problem, 0), plan.problem.data, name)


PARTS = [simulate, load, checks, preprocessing, lsi, graph, assignment, writing]
TASKS = {
    "predict_modality": "svd_linear knn guanlab_krr axx_mlp novel_mlp cajal_depth ls_lab babel_like",
    "match_modality": "linear_hungarian procrustes novel_clip clue_like",
    "joint_embedding": "guanlab_svd harmony lsl_ae jae",
}
# the control whose answer the metrics score
SCORED = {"predict_modality": "mean", "match_modality": "random", "joint_embedding": "gex_only"}


def stages(kind: str) -> dict[tuple[str, str], Callable[[Place, Meter], None]]:
    """(stage, method): what it does."""
    table: dict[tuple[str, str], Callable[[Place, Meter], None]] = {
        (part.__name__, ""): part for part in PARTS
    }

    def answer(task: str, name: str, *overrides: str) -> Callable[[Place, Meter], None]:
        return lambda place, meter: model(place, meter, name, f"task={task}", EPOCH, *overrides)

    for task, rivals in TASKS.items():
        table["metrics", task] = lambda place, meter, task=task: metrics(place, meter, task)
        table[task, "scmognn"] = answer(task, "scmognn")
        pathway = []
        if task == "predict_modality":
            pathway = ["model.predict_modality.pathway=null"]
            table[task, "scmognn[feature_share=1]"] = answer(
                task, "scmognn", "model.predict_modality.feature_share=1"
            )
        table[task, "scmognn, published"] = answer(task, "scmognn", TUNED[kind], *pathway)
        table |= {(task, name): answer(task, name) for name in rivals.split()}
    return table


@contextlib.contextmanager
def metered(spent: dict[str, float]) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent |= {"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu}


def one(place: Place, stage: str, method: str, memory_gb: float) -> None:
    """A stage in this process; prints what it took as JSON."""
    resource.setrlimit(resource.RLIMIT_DATA, (int(memory_gb * 1e9), resource.RLIM_INFINITY))
    spent: dict[str, Any] = {}
    try:
        stages(place.kind)[stage, method](place, lambda: metered(spent))
        spent["status"] = "ok"
    except (MemoryError, RuntimeError, ValueError) as error:
        told = " ".join(str(error).split()) or type(error).__name__
        refused = isinstance(error, MemoryError) or any(w in told for w in ("allocate", "GB", "memory"))
        spent = {"status": "out of memory limit" if refused else f"failed: {told[:200]}"}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    print(json.dumps(spent | {"peak_gb": peak / 1e9}))


def measured(place: Place, stage: str, method: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """The row of a stage, from a process of its own; the cells are simulated first where they are missing."""
    if stage != "simulate" and not all(file.is_file() for file in place.files):
        measured(place, "simulate", "", arguments)
    command = [
        sys.executable,
        "-W",
        "ignore",
        __file__,
        "--one",
        stage,
        method,
        "--folder",
        str(arguments.folder),
    ]
    command += ["--kinds", place.kind, "--cells", str(place.cells), "--memory-gb", str(arguments.memory_gb)]
    command += ["--genes", str(place.genes), "--mod2", str(place.mod2)]
    done = None
    with contextlib.suppress(subprocess.TimeoutExpired):
        done = subprocess.run(command, capture_output=True, text=True, timeout=60 * arguments.minutes)
    if done is None:
        return {"status": "time limit"}
    if done.returncode < 0:
        return {"status": "out of memory limit"}  # the kernel killed it
    if done.returncode:
        raise SystemExit(f"{stage} {method}: {done.stderr}")
    found = json.loads(done.stdout.splitlines()[-1])
    return {k: v if isinstance(v, str) else f"{v:.4g}" for k, v in found.items()}


def read_rows(path: Path) -> dict[tuple[str, ...], dict[str, str]]:
    """Rows of the table by `KEY`."""
    if not path.is_file():
        return {}
    with path.open(newline="") as file:
        return {tuple(row[k] for k in KEY): row for row in csv.DictReader(file)}


def write_rows(path: Path, rows: dict[tuple[str, ...], dict[str, str]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows.values())


def filled(place: Place) -> str:
    """Share of the entries of both modalities that are not zero."""
    import h5py

    shares = []
    for path in place.files if all(f.is_file() for f in place.files) else ():
        with h5py.File(path) as file:
            rows, columns = file["X"].attrs["shape"]
            shares.append(f"{file['X/data'].shape[0] / (rows * columns):.3f}")
    return " ".join(shares)


def processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").is_file() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    return f"{names[0] if names else platform.processor()}, {os.cpu_count()} cores, threads: {threads}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--cells", type=int, nargs="+", help="default: the competition's number")
    parser.add_argument("--genes", type=int)
    parser.add_argument("--mod2", type=int)
    parser.add_argument("--stages", nargs="+", help="stages or methods; default: all")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "scmobench-full-size")
    parser.add_argument("--out", type=Path, default=OUT)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--memory-gb", type=float, default=20)
    parser.add_argument("--again", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("STAGE", "METHOD"), help="in this process")
    arguments = parser.parse_args()
    for kind in arguments.kinds:
        for cells in arguments.cells or [SHAPES[kind][0]]:
            genes, mod2 = arguments.genes or SHAPES[kind][1], arguments.mod2 or SHAPES[kind][2]
            place = Place(kind, cells, genes, mod2, arguments.folder / f"{kind}-{cells}-{genes}-{mod2}")
            if arguments.one:
                one(place, *arguments.one, arguments.memory_gb)
            else:
                every_stage(place, arguments)


def every_stage(place: Place, arguments: argparse.Namespace) -> None:
    """Measure what is asked for and not yet there; keep each row at once."""
    for stage, method in stages(place.kind):
        rows = read_rows(arguments.out)
        key = (stage, method, place.kind, str(place.cells), f"{place.genes} {place.mod2}")
        known = rows.get(key, {}).get("status", "not run") != "not run"
        asked = not arguments.stages or {stage, method} & set(arguments.stages)
        if known and not (asked and arguments.again):
            continue
        found = measured(place, stage, method, arguments) if asked else {"status": "not run"}
        about = {"filled": filled(place)}
        if found["status"] != "not run":
            about |= {"processor": processor(), "date": datetime.date.today().isoformat()}
            print(stage, method, place.kind, place.cells, found, flush=True)
        rows = read_rows(arguments.out)  # another call may have added rows meanwhile
        rows[key] = dict(zip(KEY, key, strict=True)) | about | found
        write_rows(arguments.out, rows)


if __name__ == "__main__":
    main()
