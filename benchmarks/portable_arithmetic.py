"""Portable arithmetic: every model's smoke settings on this processor and on emulated ones, byte by byte.

One process a processor runs all cases, in portable arithmetic; what it has done is kept in --state, so that
the same command goes on where it stopped. Emulation is 20 to 50 times slower: hours. Prints a table and
writes JSON. Without qemu-user (apt-get install qemu-user) only this processor is run.

    python benchmarks/portable_arithmetic.py [--models scmognn knn] [--datasets tiny_cite tiny_multiome]
                                             [--state runs/portable_arithmetic] [--out FILE.json]
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from scmobench.machine.arithmetic import prepare

EMULATOR = "qemu-x86_64"
PROCESSORS = {"native": None, "Haswell": "Haswell-v4", "EPYC-Rome": "EPYC-Rome-v2"}
DATASETS = {"tiny_cite": "from_gex", "tiny_multiome": "to_gex"}
# those whose answer hangs on most libraries come first
FIRST = (
    "scmognn svd_linear knn guanlab_krr novel_mlp babel_like cajal_depth ls_lab lsl_ae jae harmony clue_like"
)
FIRST += " novel_clip procrustes linear_hungarian axx_mlp guanlab_svd mofa"
RESTARTS = 2  # so often a case may end the process before it counts as crashed
VALUES = 1 << 16  # of which each function's results are compared


def cases(models: list[str], datasets: list[str]) -> list[list[str]]:
    """Overrides of each run: a data set, a model, a task that it serves."""
    from omegaconf import OmegaConf

    from scmobench.experiment.config import conf_dir, names, not_installed
    from scmobench.types import TASKS

    order = sorted(
        models or names("model"), key=lambda m: (FIRST.split().index(m) if m in FIRST.split() else 99, m)
    )
    found = []
    for dataset in datasets:
        for model in order:
            block = OmegaConf.load(conf_dir() / "model" / f"{model}.yaml")
            kind = "GEX-ADT" if dataset == "tiny_cite" else "GEX-ATAC"
            if not_installed(block) or kind not in block.get("subtasks", [kind]):
                continue
            for task in (task for task in TASKS if task in block):
                direction = "from_gex" if task == "joint_embedding" else DATASETS[dataset]
                given = {"dataset": dataset, "task": task, "model": model, "direction": direction}
                found.append([f"{key}={value}" for key, value in given.items()])
    return found


def route_round_argsort() -> None:
    """Sort by other loops, on every processor alike: the emulator gets NumPy's vectorised ones wrong.

    Under qemu 7.2 `np.argsort` with AVX2 returns an order that does not sort, of whole numbers too, and
    `np.argpartition` may crash. Stable sorting is not vectorised.
    """
    import ctypes
    import gc

    import numpy as np

    plain = np.ndarray.argsort

    def argsort(
        self: np.ndarray, axis: int | None = -1, kind: Any = None, order: Any = None, **_: Any
    ) -> Any:
        return plain(self, axis=axis, kind="stable", order=order)

    def argpartition(self: np.ndarray, kth: Any, axis: int | None = -1, *_: Any, **__: Any) -> Any:
        return argsort(self, axis)

    (methods,) = gc.get_referents(np.ndarray.__dict__)  # of a class written in C, else out of reach
    methods |= {"argsort": argsort, "argpartition": argpartition}
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(np.ndarray))


def sha(*arrays: Any) -> str:
    import numpy as np

    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def functions() -> dict[str, Callable[[], Any]]:
    """Calls of the libraries whose results should be the same bytes, by name."""
    import math

    import numpy as np
    import scipy.linalg
    import scipy.sparse as sp
    import torch
    from sklearn.decomposition import TruncatedSVD
    from sklearn.ensemble import HistGradientBoostingRegressor
    from sklearn.neighbors import NearestNeighbors

    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(-8, 4, VALUES))
    signed = rng.normal(size=VALUES) * 4
    matrix = rng.normal(size=(300, 200))
    counts = sp.random(400, 300, 0.1, format="csr", random_state=0, dtype=np.float32)
    calls: dict[str, Callable[[], Any]] = {}
    for kind in (np.float32, np.float64):
        bits = np.dtype(kind).itemsize * 8
        a, b, m = wide.astype(kind), signed.astype(kind), matrix.astype(kind)
        ta, tb, tm = map(torch.from_numpy, (a, b, m))
        for name in ["sqrt", "log", "log1p", "log2", "log10", "reciprocal", "cbrt"]:
            calls[f"numpy {name} {bits}"] = partial(getattr(np, name), a)
        for name in ["exp", "expm1", "tanh", "sin", "cos", "arctan", "sinh", "square"]:
            calls[f"numpy {name} {bits}"] = partial(getattr(np, name), b)
        calls[f"numpy power {bits}"] = lambda a=a, b=b: np.power(a, b)
        for name in ["sum", "mean", "std", "var", "cumsum"]:
            calls[f"numpy {name} {bits}"] = partial(getattr(np, name), b)
        calls[f"numpy product {bits}"] = lambda m=m: m @ m.T
        calls[f"numpy svd {bits}"] = lambda m=m: np.linalg.svd(m, full_matrices=False)[0]
        calls[f"numpy eigh {bits}"] = lambda m=m: np.linalg.eigh(m.T @ m)[1]
        calls[f"numpy norm {bits}"] = lambda m=m: np.linalg.norm(m, axis=1)
        calls[f"scipy cholesky {bits}"] = lambda m=m: scipy.linalg.cholesky(m.T @ m)
        calls[f"scipy qr {bits}"] = lambda m=m: scipy.linalg.qr(m, mode="economic")[0]
        for name in ["sqrt", "log", "log1p", "log2", "rsqrt", "reciprocal"]:
            calls[f"torch {name} {bits}"] = partial(getattr(torch, name), ta)
        for name in ["exp", "expm1", "tanh", "erf", "sigmoid", "sin", "cos"]:
            calls[f"torch {name} {bits}"] = partial(getattr(torch, name), tb)
        for name in ["gelu", "elu", "softplus", "silu"]:
            calls[f"torch {name} {bits}"] = partial(getattr(torch.nn.functional, name), tb)
        calls[f"torch sum {bits}"] = lambda b=tb: b.sum().reshape(1)
        calls[f"torch std {bits}"] = lambda m=tm: m.std(dim=0)
        calls[f"torch softmax {bits}"] = lambda m=tm: torch.softmax(m, 1)
        calls[f"torch logsumexp {bits}"] = lambda m=tm: torch.logsumexp(m, 1)
        calls[f"torch norm {bits}"] = lambda m=tm: torch.linalg.vector_norm(m, dim=1)
        calls[f"torch product {bits}"] = lambda m=tm: m @ m.T
        calls[f"torch svd {bits}"] = lambda m=tm: torch.linalg.svd(m, full_matrices=False)[0]
        calls[f"torch layer_norm {bits}"] = lambda m=tm: torch.nn.functional.layer_norm(m, m.shape[1:])
        calls[f"torch batch_norm {bits}"] = lambda m=tm: torch.nn.functional.batch_norm(
            m, None, None, training=True
        )
        csr = counts.astype(kind)
        calls[f"torch csr product {bits}"] = lambda c=csr, m=tm: (
            torch.sparse_csr_tensor(
                torch.from_numpy(c.indptr), torch.from_numpy(c.indices), torch.from_numpy(c.data), c.shape
            )
            @ m
        )
        calls[f"scipy csr product {bits}"] = lambda c=csr, m=m: c @ np.vstack([m, m])[:300]

    def drawn(name: str) -> torch.Tensor:
        torch.manual_seed(0)
        return getattr(torch, name)(VALUES) if name != "bernoulli" else torch.rand(VALUES).bernoulli_(0.3)

    for name in ["rand", "randn", "bernoulli", "randperm"]:
        calls[f"torch {name}"] = lambda name=name: drawn(name)
    y = matrix[:, 0] + matrix[:, 1] ** 2
    calls["python exp, log, pow"] = lambda: np.array(
        [f(v) for v in wide[:4096] for f in (math.exp, math.log, math.sin, lambda v: v**0.3)]
    )
    calls["sklearn TruncatedSVD"] = lambda: TruncatedSVD(20, random_state=0).fit_transform(counts)
    calls["sklearn neighbours"] = lambda: NearestNeighbors(n_neighbors=9).fit(matrix).kneighbors(matrix)[0]
    calls["sklearn brute neighbours"] = lambda: (
        NearestNeighbors(n_neighbors=9, algorithm="brute").fit(matrix).kneighbors(matrix)[0]
    )
    calls["sklearn boosting"] = lambda: (
        HistGradientBoostingRegressor(max_iter=20, random_state=0).fit(matrix, y).predict(matrix)
    )
    return calls


def child(arguments: argparse.Namespace) -> None:
    """In the process of one processor: the functions, then the cases that --state lacks, a line each."""
    import numpy as np

    route_round_argsort()
    done = {json.loads(line)["case"] for line in arguments.child.read_text().splitlines()}
    with arguments.child.open("a") as state:

        def keep(case: str, **found: Any) -> None:
            print(json.dumps({"case": case} | found), file=state, flush=True)

        for name, call in functions().items():
            case = f"function {name}"
            if case not in done:
                print(case, flush=True)
                keep(case, hash=sha(np.asarray(call())), scores={})
        from scmobench.experiment.config import compose
        from scmobench.experiment.plan import Plan
        from scmobench.experiment.run import run

        for overrides in cases(arguments.models, arguments.datasets):
            case = " ".join(overrides)
            if case in done:
                continue
            print(case, flush=True)
            begun = time.perf_counter()
            with tempfile.TemporaryDirectory() as runs:
                cfg = compose([*overrides, "smoke=true", f"runs={runs}"])
                try:
                    record = run(Plan(cfg, cfg.model.name))
                except Exception as error:  # the others go on; the table names it
                    keep(case, error=f"{type(error).__name__}: {error}")
                    continue
            scores = {name: score["value"] for name, score in record["scores"].items()}
            seconds = round(time.perf_counter() - begun, 1)
            keep(case, hash=record["prediction_hash"][:16], scores=scores, seconds=seconds)


def answers(processor: str, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """What one processor gave, case by case; runs what is missing."""
    state = arguments.state / f"{processor}.jsonl"
    state.parent.mkdir(parents=True, exist_ok=True)
    state.touch()
    python = str(Path(sys.executable).resolve()) if PROCESSORS[processor] else sys.executable
    emulated = [EMULATOR, "-cpu", PROCESSORS[processor]] if PROCESSORS[processor] else []
    line = [*emulated, python, __file__, "--child", str(state)]
    line += [
        "--datasets",
        *arguments.datasets,
        *(["--models", *arguments.models] if arguments.models else []),
    ]
    places = os.pathsep.join(path for path in sys.path if path)  # of the virtual environment as well
    crashes: dict[str, int] = {}
    while True:
        ended = subprocess.run(
            line, env=os.environ | {"PYTHONPATH": places}, stdout=subprocess.PIPE, text=True, check=False
        )
        if ended.returncode == 0:
            break
        last = (ended.stdout.splitlines() or ["imports"])[-1]
        crashes[last] = crashes.get(last, 0) + 1
        print(f"{processor}: the process ended with {ended.returncode} in {last}", flush=True)
        if crashes[last] >= RESTARTS:
            with state.open("a") as file:
                print(
                    json.dumps({"case": last, "error": f"the process ended with {ended.returncode}"}),
                    file=file,
                )
    return {row["case"]: row for row in map(json.loads, state.read_text().splitlines())}


def differing(found: dict[str, dict[str, Any]]) -> Iterator[tuple[str, str, str]]:
    """Case, processor and what is not as on the native one."""
    for case, native in found["native"].items():
        for processor, rows in found.items():
            other = rows.get(case)
            if other is None or processor == "native":
                continue
            if wrong := native.get("error") or other.get("error"):
                yield case, processor, wrong
            elif other["hash"] != native["hash"]:
                yield case, processor, "result" if case.startswith("function") else "prediction"
            elif scores := [n for n, v in native["scores"].items() if other["scores"][n] != v]:
                yield case, processor, "scores: " + ", ".join(scores)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", nargs="+", default=[], help="all of conf/model")
    parser.add_argument("--datasets", nargs="+", choices=DATASETS, default=list(DATASETS))
    parser.add_argument("--processors", nargs="+", choices=PROCESSORS, default=list(PROCESSORS))
    parser.add_argument("--state", type=Path, default=Path("runs/portable_arithmetic"))
    parser.add_argument("--out", type=Path, help="JSON file")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    prepare(["arithmetic=portable"])
    if arguments.child:
        child(arguments)
        return
    processors = [p for p in arguments.processors if PROCESSORS[p] is None or shutil.which(EMULATOR)]
    if left := sorted(set(arguments.processors) - set(processors)):
        print(f"left out: {', '.join(left)}, since {EMULATOR} is not installed: apt-get install qemu-user")
    found = {processor: answers(processor, arguments) for processor in processors}
    wrong = {(case, processor): what for case, processor, what in differing(found)}
    for case in found["native"]:
        shown = [
            wrong.get((case, p), "equal" if case in found[p] else "-") for p in processors if p != "native"
        ]
        print(f"{case:90} {found['native'][case].get('hash', ''):16}  " + "  ".join(shown))
    if arguments.out:
        report = {
            "processors": {p: PROCESSORS[p] or "this one" for p in processors},
            "cases": len(found["native"]),
            "equal": {
                p: sum(case in found[p] and (case, p) not in wrong for case in found["native"])
                for p in processors
                if p != "native"
            },
            "different": [
                dict(zip(("case", "processor", "what"), (*key, what), strict=True))
                for key, what in wrong.items()
            ],
            "rows": found,
        }
        arguments.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
