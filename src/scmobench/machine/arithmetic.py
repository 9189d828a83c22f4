"""Portable arithmetic: the same bytes on any x86-64 processor with AVX2.

Libraries choose their kernels by processor, and other kernels round otherwise. `prepare` makes each library,
before it loads, take the kernels that all these processors have. `check` asks which ones it took. What the C
library computes differs between its versions: `scmobench.data.portable_log1p` takes its place. This module
imports the standard library only, so that it can come first.
"""

import os
import platform
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

ARITHMETIC = ("native", "portable")
VARIABLE = "SCMOBENCH_ARITHMETIC"
LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMBA", "NUMEXPR")
THREADS = (*(f"{library}_NUM_THREADS" for library in LIBRARIES), "VECLIB_MAXIMUM_THREADS")
HEAVY = ("numpy", "torch")
AVX512 = "X86_V4 AVX512_ICL AVX512_SPR"  # as NumPy names its loops
AVX512_BEFORE_2_4 = "AVX512F AVX512CD AVX512_SKX AVX512_CLX AVX512_CNL AVX512_ICL AVX512_SPR"
MKL_BRANCH, MKL_COMPATIBLE = 1, 3  # MKL_CBWR_BRANCH and MKL_CBWR_COMPATIBLE of its mkl_types.h
REMEDY = (
    f"start a new process with {VARIABLE}=portable set or by `scmobench run arithmetic=portable`, and import "
    "scmobench before NumPy and PyTorch"
)


def recipe() -> dict[str, str]:
    """The environment variables of portable arithmetic. Each must be set before its library loads."""
    from importlib.metadata import version

    before = tuple(map(int, version("numpy").split(".")[:2])) < (2, 4)
    return dict.fromkeys(THREADS, "1") | {  # sums are split by threads
        "ATEN_CPU_CAPABILITY": "avx2",  # PyTorch's own kernels
        "MKL_CBWR": "COMPATIBLE",  # PyTorch's products; its AVX2 differs between Intel and AMD
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",  # BLAS and LAPACK of NumPy and SciPy
        "NPY_DISABLE_CPU_FEATURES": AVX512_BEFORE_2_4 if before else AVX512,
        "NUMBA_CPU_NAME": "haswell",  # code that is compiled here, below scanpy
        "NUMBA_CPU_FEATURES": "+avx2,+bmi,+bmi2,+f16c,+fma,+lzcnt,+movbe,+popcnt",
        "CUDA_VISIBLE_DEVICES": "",  # a GPU has an arithmetic of its own
    }


def prepare(arguments: Sequence[str] = ()) -> None:
    """Set the recipe, over the user's values, if portable arithmetic is asked for.

    The argument ``arithmetic=portable`` or the variable ``SCMOBENCH_ARITHMETIC=portable`` asks for it. Child
    processes inherit it. Raises ValueError for another value, two different values, another processor, and
    libraries that are loaded.
    """
    asked = checked(os.environ.get(VARIABLE) or "native")
    for given in [a.partition("=")[2] for a in arguments if a.startswith("arithmetic=")]:
        if (asked, checked(given)) == ("portable", "native"):
            raise ValueError(
                f"expected one arithmetic, found arithmetic=native beside {VARIABLE}=portable: leave out one"
            )
        os.environ[VARIABLE] = asked = given
    if asked == "native" or not unset():
        return
    refuse_processor()
    if loaded := [library for library in HEAVY if library in sys.modules]:
        raise ValueError(
            "expected to set arithmetic=portable before libraries load, found that "
            f"{' and '.join(loaded)} loaded before: {REMEDY}"
        )
    os.environ.update(recipe())


def checked(arithmetic: object) -> str:
    """``native`` or ``portable``. Raises ValueError for anything else."""
    if arithmetic not in ARITHMETIC:
        raise ValueError(
            f"expected arithmetic to be one of {ARITHMETIC} for the whole process, found {arithmetic!r}"
        )
    return str(arithmetic)


def portable() -> bool:
    """Whether this process computes in portable arithmetic."""
    return os.environ.get(VARIABLE) == "portable"


def unset() -> list[str]:
    """Variables of the recipe that have another value here, or none."""
    return [name for name, value in recipe().items() if os.environ.get(name) != value]


def refuse_processor(info: Path = Path("/proc/cpuinfo")) -> None:
    """Raise ValueError if the processor is no x86-64 with AVX2 and FMA."""
    found = platform.machine()
    if found.lower() in ("x86_64", "amd64"):
        flags = re.search(r"^flags\s*: (.*)$", info.read_text() if info.is_file() else "", re.M)
        if not flags or {"avx2", "fma"} <= set(flags[1].split()):
            return
        found += " without AVX2 and FMA"
    raise ValueError(
        f"expected an x86-64 processor with AVX2 for arithmetic=portable, found {found}: "
        "leave it out, or say arithmetic=native"
    )


def check(arithmetic: str) -> str:
    """The arithmetic. Raises ValueError if it is ``portable`` and a library computes otherwise."""
    if checked(arithmetic) == "portable":
        refuse_processor()
        if wrong := [*reported()]:
            raise ValueError(f"expected arithmetic=portable, found {'; '.join(wrong)}: {REMEDY}")
    return arithmetic


def identity(arithmetic: str) -> dict[str, str]:
    """What an arithmetic adds to the identity of a run: nothing if it is native."""
    return {} if checked(arithmetic) == "native" else {"arithmetic": arithmetic}


def reported() -> Iterator[str]:
    """What the loaded libraries report that is not portable arithmetic, one line for each."""
    import numpy
    from threadpoolctl import threadpool_info

    if others := unset():
        yield f"environment variables with other values than its own, {', '.join(others)}"
    loops = (getattr(numpy, "_core", None) or numpy.core)._multiarray_umath
    enabled = [name for name in loops.__cpu_dispatch__ if loops.__cpu_features__[name]]  # it has no others
    if wider := [name for name in enabled if name.startswith(("AVX512", "X86_V4"))]:
        yield f"NumPy with loops for {', '.join(wider)}"
    for library in threadpool_info():
        name = f"{library['prefix']} ({Path(library['filepath']).name})"
        if library["internal_api"] not in ("openblas", "mkl", "openmp"):
            yield f"{name}, which cannot be told which kernels to take"
        if library["internal_api"] == "openblas" and library["architecture"] != "Haswell":
            yield f"{name} with kernels for {library['architecture']}, not Haswell"
        if library["num_threads"] != 1:
            yield f"{name} with {library['num_threads']} threads, not 1"
    if torch := sys.modules.get("torch"):
        if (found := torch.backends.cpu.get_cpu_capability()) != "AVX2":
            yield f"PyTorch with kernels for {found}, not AVX2"
        if torch.get_num_threads() != 1:
            yield f"PyTorch with {torch.get_num_threads()} threads, not 1"
        if torch.cuda.is_available():
            yield "PyTorch with a GPU"
        if torch.backends.mkl.is_available() and (branch := mkl_branch()) not in (None, MKL_COMPATIBLE):
            yield f"MKL, below PyTorch, on branch {branch}, not COMPATIBLE ({MKL_COMPATIBLE})"
    config = getattr(sys.modules.get("numba"), "config", None)
    if config is not None and recipe()["NUMBA_CPU_NAME"] != config.CPU_NAME:
        yield f"numba with code for {config.CPU_NAME or 'this processor'}, not haswell"


def mkl_branch() -> int | None:
    """The kernels that MKL chose at its first use (its ``MKL_CBWR``); None if it cannot say."""
    import ctypes

    import torch

    library = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    try:
        return int(ctypes.CDLL(str(library)).mkl_serv_cbwr_get(ctypes.c_int(MKL_BRANCH)))
    except (OSError, AttributeError):
        return None


def threads() -> int | None:
    """OpenMP threads that the environment asks for; None if it does not say."""
    first = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()  # a list is by level of nesting
    return int(first) if first.isdecimal() and int(first) > 0 else None
