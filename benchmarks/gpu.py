"""What scMoGNN costs on the GPU at hand: tables, printed and written as JSON.

1. the three heads by default settings on pbmc10x_cite (``SCMOBENCH_DATA``): seconds of fit and of prediction;
2. a step on that set: launched by the host with its own samples, launched with all on the device, captured;
3. the product with the matrix at the official shape (81,241 x 13,953, 10 % filled), each way it can be made;
4. a step at that shape (4 layers, hidden 48), and the memory it takes beyond the data;
5. whether the same seed twice gives the same bytes.

    SCMOBENCH_DATA=… python benchmarks/gpu.py [--out results/speed/gpu.json] [--tables 1 2 3 4 5]

Under four minutes on an H100. Without a GPU it says so and ends.
"""

import argparse
import contextlib
import datetime
import functools
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import scipy.sparse as sp
import torch
from lightning.pytorch import Callback

import gpu_products
from graph_building import simulated

SHAPE, FILLED, TRAINING, TARGETS = (81241, 13953), 0.1, 66175, 134
HIDDEN, LAYERS, EDGE_DROPOUT = 48, 4, 0.4
RUNS = {  # task, direction
    "prediction GEX2ADT": ("predict_modality", "from_gex"),
    "prediction ADT2GEX": ("predict_modality", "to_gex"),
    "matching": ("match_modality", "from_gex"),
    "joint embedding": ("joint_embedding", "from_gex"),
}
STEPS = [  # run, setting, cells of a step (None: all), way, epochs
    ("prediction GEX2ADT", "model.predict_modality.batch_size=64", 64, "host", 3),
    ("prediction GEX2ADT", "model.predict_modality.batch_size=64", 64, "launched", 3),
    ("prediction GEX2ADT", "model.predict_modality.batch_size=64", 64, "captured", 10),
    ("prediction GEX2ADT", "model.predict_modality.batch_size=512", 512, "captured", 10),
    ("prediction GEX2ADT", "model.predict_modality.batch_size=null", None, "host", 20),
    ("prediction GEX2ADT", "model.predict_modality.batch_size=null", None, "captured", 20),
    ("joint embedding", "model.joint_embedding.batch_size=64", 64, "host", 8),
    ("joint embedding", "model.joint_embedding.batch_size=64", 64, "captured", 15),
    ("matching", "model.match_modality.batch_size=1024", 1024, "host", 12),
    ("matching", "model.match_modality.batch_size=1024", 1024, "captured", 15),
]


class Watch(Callback):
    """Seconds of each epoch, and the device's memory before the first and at most."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def on_train_epoch_start(self, *_: Any) -> None:
        torch.cuda.synchronize()
        if not self.seconds:
            self.before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
        self.start = time.perf_counter()

    def on_train_epoch_end(self, *_: Any) -> None:
        torch.cuda.synchronize()
        self.seconds.append(time.perf_counter() - self.start)

    def typical(self) -> float:
        """Milliseconds of an epoch, once its steps are captured."""
        return 1000 * float(np.median(self.seconds[min(6, len(self.seconds) // 2) :]))


@contextlib.contextmanager
def watched(way: str = "captured") -> Iterator[Watch]:
    """Trainings inside are watched; ``way``: who makes the steps."""
    from scmobench.training import fit, resident

    watch = Watch()
    with contextlib.ExitStack() as stack:
        stack.enter_context(patch.object(fit, "Forecast", lambda *_: watch))
        if way == "host":
            stack.enter_context(patch.object(resident, "accelerator", lambda _: "cpu"))
        if way == "launched":
            stack.enter_context(patch.object(resident, "WARM_UP", sys.maxsize))
        yield watch


@functools.cache
def problem(task: str, direction: str, *settings: str) -> tuple[Any, Any]:
    """Data and model of a run as the command line would make them; fitting the model again starts anew."""
    from scmobench.experiment.config import build
    from scmobench.experiment.plan import Plan

    told = ["dataset=pbmc10x_cite", "model=scmognn", f"task={task}", f"direction={direction}", *settings]
    plan = Plan.composed(told)
    return plan.problem, build(plan.settings)


def fit(split: Any, model: Any) -> float:
    """Seconds that the fit took."""
    seen = split.data.for_fit(model.transductive, model.label_supervised)
    start = time.perf_counter()
    model.fit(seen, 0)
    return round(time.perf_counter() - start, 2)


def heads() -> dict[str, Any]:
    """Each head once by default settings; prediction a second time, when its kernels are compiled."""
    from scmobench.experiment import run

    rows = {}
    for name in [*RUNS, "prediction GEX2ADT"]:
        split, model = problem(*RUNS[name])
        with watched() as watch:
            row = {"fit_seconds": fit(split, model), "epochs_seconds": round(sum(watch.seconds), 2)}
        start = time.perf_counter()
        answer = model.predict(run.at_prediction(model, split))
        row["predict_seconds"] = round(time.perf_counter() - start, 2)
        report = model.report()
        row |= {key: report[key] for key in ("epochs", "validation", "product") if key in report}
        if name.startswith("prediction"):
            truth = split.solution.X.toarray() if sp.issparse(split.solution.X) else split.solution.X
            row["rmse"] = float(np.sqrt(np.square(answer - truth).mean()))
        rows[f"{name}, again" if name in rows else name] = row
        print(name, json.dumps(row), flush=True)
    return rows


def steps() -> dict[str, float]:
    """Milliseconds a step of training on pbmc10x_cite, evaluations of the embedding and matching included."""
    rows = {}
    for name, setting, size, way, epochs in STEPS:
        split, model = problem(*RUNS[name], setting, f"trainer.max_epochs={epochs}")
        if name.startswith("prediction"):
            model.min_epochs = model.evaluate_every = epochs
        with watched(way) as watch:
            fit(split, model)
        data = split.data
        if name.startswith("prediction"):
            cells = data.train_mod1.n_obs + data.test_mod1.n_obs
        else:
            cells = (
                round(0.9 * data.mod1.obs["is_train"].sum())
                if name[0] == "j"
                else 0.85 * data.train_mod1.n_obs
            )
        taken = cells // size if name == "matching" else -(-cells // (size or cells))
        rows[f"{name}, {size or 'all'} cells, {way}"] = round(watch.typical() / taken, 3)
        print(name, size, way, rows[f"{name}, {size or 'all'} cells, {way}"], flush=True)
    return rows


def products(matrix: sp.csr_matrix) -> dict[str, Any]:
    return gpu_products.table(matrix, EDGE_DROPOUT)


def large_steps(matrix: sp.csr_matrix) -> dict[str, Any]:
    """A whole-graph step at the official shape as training makes it."""
    from scmobench.graph.cell_feature import CellFeatureGraph
    from scmobench.models.scmognn.predict_modality import ScMoGNNPrediction
    from scmobench.models.scmognn.predict_network import PredictModule
    from scmobench.nn.scmognn import ScMoGNN
    from scmobench.training.fit import TrainerSettings, train
    from scmobench.training.surroundings import seeded

    rows, target, held = {}, torch.rand(TRAINING, TARGETS), np.arange(0, TRAINING, 7)
    shape = {"hidden": HIDDEN, "layers": LAYERS, "embedding_blocks": 2, "readout": "cat"}
    for precision in ("16-products", "32-true"):
        for dropout in (0.0, EDGE_DROPOUT):
            settings = TrainerSettings(accelerator="cuda", precision=precision)
            with seeded(0), watched() as watch:
                network = ScMoGNN(SHAPE[1], TARGETS, edge_dropout=dropout, **shape)
                graph = CellFeatureGraph(matrix)
                model = ScMoGNNPrediction(learning_rate=0.003, trainer=settings)
                module = PredictModule(network, graph, target, held, True, model)
                loader = module.steps_on_device(torch.arange(SHAPE[0]), SHAPE[0], settings, False)
                train(module, loader, None, settings=settings, max_epochs=30)
            row = {"milliseconds": round(watch.typical(), 2), "data_gb": round(watch.before / 1e9, 2)}
            beyond = torch.cuda.max_memory_reserved() - watch.before
            row |= {"reserved_beyond_gb": round(beyond / 1e9, 2), "product": module.product}
            rows[f"{precision}, edge dropout {dropout}"] = row
            print(precision, dropout, json.dumps(row), flush=True)
            del module
            torch.cuda.empty_cache()
    return rows


def repeated() -> dict[str, bool]:
    """Whether two fits with the same seed predict the same bytes."""
    from scmobench.experiment import run

    cases = [("prediction GEX2ADT", f"model.predict_modality.batch_size={size}") for size in ("64", "null")]
    cases += [("prediction GEX2ADT", "trainer.precision=16-products")]
    cases += [("matching", "seed=0"), ("joint embedding", "seed=0")]
    rows = {}
    for name, setting in cases:
        found = []
        for _ in range(2):
            split, model = problem(*RUNS[name], "smoke=true", setting)
            fit(split, model)
            data = run.at_prediction(model, split)
            answer = model.similarity(data) if name == "matching" else [model.predict(data)]
            found.append(b"".join(part.tobytes() for part in answer))
        rows[f"{name}, {setting}"] = found[0] == found[1]
        print(name, setting, found[0] == found[1], flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--tables", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        print("no GPU here: nothing is measured", file=sys.stderr)
        return
    from scmobench.experiment.code import code_digest

    made = {
        "card": torch.cuda.get_device_name(),
        "copy_tb_per_second": gpu_products.bandwidth(),
        "date": datetime.date.today().isoformat(),
        "torch": torch.__version__,
        "code": code_digest("scmobench.models.scmognn.predict_modality", "predict_modality"),
    }
    print(json.dumps(made), flush=True)
    tables = {1: heads, 2: steps, 3: products, 4: large_steps, 5: repeated}
    matrix = simulated(*SHAPE, FILLED) if {3, 4} & set(arguments.tables) else None
    for number in arguments.tables:
        begun = time.perf_counter()
        made[tables[number].__name__] = tables[number](*([matrix] if number in (3, 4) else []))
        print(f"table {number}: {time.perf_counter() - begun:.0f} s", flush=True)
        if arguments.out:
            arguments.out.write_text(json.dumps(made, indent=1) + "\n")


if __name__ == "__main__":
    main()
