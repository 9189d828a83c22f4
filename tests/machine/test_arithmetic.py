"""Portable arithmetic: set before libraries load, checked by what they report, part of a run's identity."""

import ast
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy._core._multiarray_umath import __cpu_features__

from command_line import scmobench
from places import ROOT
from scmobench.cli import main
from scmobench.experiment import kept, records
from scmobench.experiment.config import compose
from scmobench.experiment.launcher import handed_on
from scmobench.experiment.plan import Plan, method_name
from scmobench.experiment.run import run
from scmobench.machine import arithmetic
from scmobench.machine.arithmetic import check, prepare, recipe, refuse_processor, reported
from scmobench.models.prediction.networks import rmse
from scmobench.training.rmsprop import RMSprop

SRC = ROOT / "src" / "scmobench"
AVX2 = Path("/proc/cpuinfo").is_file() and " avx2 " in Path("/proc/cpuinfo").read_text()
NEEDS_AVX2 = pytest.mark.skipif(not AVX2, reason="needs an x86-64 processor with AVX2")
OTHERS = {"OPENBLAS_CORETYPE": "Nehalem", "ATEN_CPU_CAPABILITY": "default", "OMP_NUM_THREADS": "2"}
# of svd_linear on tiny_cite, also on emulated processors (benchmarks/portable_arithmetic.py)
SVD_LINEAR = "e2baa0501c831d0b"


def python(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """A program in a process of its own, without variables of portable arithmetic but those given."""
    kept = {k: v for k, v in os.environ.items() if k not in {*recipe(), arithmetic.VARIABLE}}
    line = [sys.executable, "-c", program]
    return subprocess.run(line, env=kept | variables, capture_output=True, text=True, check=True)


@NEEDS_AVX2
def test_portable_runs_in_workers_whatever_the_user_has_set(tmp_path: Path) -> None:
    """A sweep with an ensemble, by joblib: the members, too, are portable; a native run is another run."""
    sweep = (
        "run",
        "-m",
        "dataset=tiny_cite",
        "model=svd_linear",
        "launcher=joblib",
        "hydra.launcher.n_jobs=2",
    )
    done = scmobench(*sweep, "arithmetic=portable", "seed=0", "ensemble=none,seeds", cwd=tmp_path, **OTHERS)
    assert done.returncode == 0, done.stderr
    found = kept.read([tmp_path / "runs"])
    assert len(found) == 5
    assert {(r["arithmetic"], r["threads"]) for r in found} == {("portable", 1)}
    assert {p.parents[1].name[-9:] for p in (tmp_path / "runs").rglob("record.json")} == {"-portable"}
    if {k: v for k, v in found[0]["versions"].items() if k in ("numpy", "scipy", "scikit-learn")} == {
        "numpy": "2.4.6",
        "scipy": "1.17.1",
        "scikit-learn": "1.9.1",
    }:
        single = [r for r in found if (r["method"], r["seed"]) == ("svd_linear", 0)]
        assert {r["prediction_hash"][:16] for r in single} == {SVD_LINEAR}


def test_native_is_the_default_and_adds_nothing_to_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(arithmetic.VARIABLE, raising=False)
    overrides = ["dataset=tiny_cite", "model=mean", f"runs={tmp_path}"]
    cfg = compose(overrides)
    record = run(Plan(cfg, method_name(cfg, overrides)))
    assert record["arithmetic"] == "native"
    assert record["threads"] == (int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count()))
    assert arithmetic.identity("native") == {}
    assert arithmetic.identity("portable") == {"arithmetic": "portable"}
    known = {
        k: record[k] for k in ("task", "dataset", "subtask", "method", "seed", "config_hash", "data_hash")
    }
    folders = [records.folder(tmp_path, known | arithmetic.identity(each)) for each in arithmetic.ARITHMETIC]
    assert (folders[0] / "record.json").is_file()
    assert folders[1].parent.name == f"{folders[0].parent.name}-portable"
    assert not records.finished(folders[0], known | arithmetic.identity("portable"))


@NEEDS_AVX2
def test_late_is_refused_and_the_advice_works(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(arithmetic.VARIABLE, "native")
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Nehalem")
    with pytest.raises(SystemExit) as refused:
        main(["run", "arithmetic=portable", "dataset=tiny_cite", "model=mean"])
    assert "found that numpy and torch loaded before: start a new process" in str(refused.value)
    assert "SCMOBENCH_ARITHMETIC=portable set" in str(refused.value)
    assert os.environ["OPENBLAS_CORETYPE"] == "Nehalem"
    followed = (
        "import scmobench; from scmobench.experiment.config import compose; "
        "from scmobench.machine.arithmetic import check; "
        "import numpy, scipy.linalg, torch, sklearn, numba; print(check(compose([]).arithmetic))"
    )
    assert python(followed, SCMOBENCH_ARITHMETIC="portable", **OTHERS).stdout == "portable\n"


@NEEDS_AVX2
def test_each_library_that_computes_otherwise_is_named() -> None:
    """Libraries load with other settings; the variables are put right afterwards, which comes too late."""
    program = (
        "import os, numpy, scipy.linalg, torch, numba; torch.ones(9, 9) @ torch.ones(9, 9)\n"
        "from scmobench.machine.arithmetic import check, recipe; os.environ.update(recipe())\n"
        "try: check('portable')\n"
        "except ValueError as error: print(error)"
    )
    said = python(program, MKL_CBWR="SSE2", **OTHERS).stdout
    for expected in (
        "libscipy_openblas64_",
        "with kernels for Nehalem, not Haswell",
        "libgomp",
        "with 2 threads, not 1",
        "PyTorch with kernels for DEFAULT, not AVX2",
        "PyTorch with 2 threads, not 1",
        "not COMPATIBLE (3)",
        "numba with code for this processor, not haswell",
        "start a new process with SCMOBENCH_ARITHMETIC=portable set",
    ):
        assert expected in said
    assert "environment variables" not in said


def test_variables_and_loops_for_other_processors_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (recipe() | {"MKL_CBWR": "AVX2"}).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(__cpu_features__, "AVX512_ICL", True)
    monkeypatch.setitem(__cpu_features__, "AVX512FP16", True)  # of the processor; no loops are made for it
    said = list(reported())
    assert said[0] == "environment variables with other values than its own, MKL_CBWR"
    assert any(line.startswith("NumPy with loops for") and "AVX512_ICL" in line for line in said)
    assert "AVX512FP16" not in "".join(said)


def test_other_processors_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    info = tmp_path / "cpuinfo"
    info.write_text("model name\t: old\nflags\t\t: sse2 avx fma\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    with pytest.raises(ValueError, match="found x86_64 without AVX2 and FMA: leave it out, or say"):
        refuse_processor(info)
    info.write_text("flags\t\t: sse2 avx avx2 fma\n")
    refuse_processor(info)
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    for refusing in (refuse_processor, lambda: check("portable")):
        with pytest.raises(
            ValueError, match="an x86-64 processor with AVX2 for arithmetic=portable, found arm64"
        ):
            refusing()
    monkeypatch.setenv(arithmetic.VARIABLE, "portable")
    monkeypatch.setenv("MKL_CBWR", "AVX2")
    with pytest.raises(SystemExit, match="found arm64: leave it out, or say arithmetic=native"):
        main(["data", "list"])


@pytest.mark.parametrize(
    ("variable", "given", "message"),
    [
        ("native", "arithmetic=quick", "one of .'native', 'portable'. for the whole process, found 'quick'"),
        ("native", "arithmetic=native,portable", "found 'native,portable'"),
        ("fast", "seed=0", "found 'fast'"),
        (
            "portable",
            "arithmetic=native",
            "arithmetic=native beside SCMOBENCH_ARITHMETIC=portable: leave out one",
        ),
    ],
)
def test_other_values_are_refused(
    variable: str, given: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(arithmetic.VARIABLE, variable)
    with pytest.raises(ValueError, match=message):
        prepare(["run", given])


def test_the_command_loads_nothing_heavy_before_it_is_prepared() -> None:
    program = "import scmobench.cli, sys, json; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(python(program).stdout)
    assert not {"numpy", "torch", "scipy", "sklearn", "numba", "hydra"} & set(loaded)


def test_a_worker_elsewhere_is_handed_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of Ray has the variables of where its cluster was begun; others inherit."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    monkeypatch.setenv(arithmetic.VARIABLE, "native")
    assert "CUDA_VISIBLE_DEVICES" not in handed_on()
    monkeypatch.setenv(arithmetic.VARIABLE, "portable")
    assert recipe().items() <= handed_on().items()


@pytest.mark.parametrize("shape", [(7, 3), (2000, 1000)])
def test_rmse_without_a_root_of_torch(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    predicted, target = torch.randn(shape, requires_grad=True), torch.randn(shape)
    found = rmse(predicted, target)
    found.backward()
    error = predicted.detach().double() - target.double()
    true = math.sqrt(float((error**2).mean()))
    assert float(found.detach()) == pytest.approx(true, rel=1e-6)
    expected = error / (error.numel() * true)
    np.testing.assert_allclose(predicted.grad, expected, rtol=0, atol=1e-6 * float(expected.abs().max()))


def test_rmse_of_equal_matrices_has_no_gradient() -> None:
    same = torch.ones(4, 2, requires_grad=True)
    rmse(same, torch.ones(4, 2)).backward()
    assert same.grad.abs().max() == 0


def test_rmsprop_is_that_of_torch_with_a_right_root() -> None:
    start = torch.randn(2000, generator=torch.Generator().manual_seed(1))
    ours, theirs = start.clone().requires_grad_(), start.clone().requires_grad_()
    steps = RMSprop([ours], lr=0.01), torch.optim.RMSprop([theirs], lr=0.01)
    for _ in range(5):
        for optimiser, parameter in zip(steps, (ours, theirs), strict=True):
            optimiser.zero_grad()
            (parameter**4).sum().backward()
            optimiser.step()
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)

    one = start.clone().requires_grad_()
    optimiser = RMSprop([one], lr=0.01)
    (one**2).sum().backward()
    optimiser.step()
    square = optimiser.state[one]["square_avg"].numpy()
    root = torch.from_numpy(np.sqrt(square)) + 1e-8  # NumPy's is the processor's own, rounded right
    assert torch.equal(one.detach(), start.clone().addcdiv_(one.grad, root, value=-0.01))


def test_nothing_trained_takes_a_root_of_torch() -> None:
    """`torch.sqrt`, and the optimisers that call it: other last bits on other processors."""
    found = []
    for path in [p for part in ("models", "nn", "training") for p in (SRC / part).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                continue
            called = ast.unparse(node.func)
            fused = any(k.arg == "fused" and ast.unparse(k.value) == "True" for k in node.keywords)
            root = node.func.attr == "sqrt" and not called.startswith(("np.", "math."))
            if root or (called.startswith("torch.optim.") and "lr_scheduler" not in called and not fused):
                found.append(f"{path.name}: {called}")
    assert found == ["rmsprop.py: square.double().sqrt"]
