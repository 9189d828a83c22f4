"""Damaged, odd and rewritten inputs for the command line: `python tests/fuzz.py`, or one: `… CASE:SEED`.

Each case builds its files, runs a command in a process of its own, and knows what may come of it: a right
value, or one clear line. The tables of cases are in `fuzz_scores`, `fuzz_own_data` and `fuzz_settings`.
"""

import argparse
import collections
import contextlib
import functools
import gc
import io
import json
import os
import resource
import select
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

import inspected
from scmobench import cli
from scmobench.data import foreign
from scmobench.experiment import config, evaluate

SECONDS, PATIENCE, GIGABYTES, LONGEST = 20, 120, 4, 1200  # of processor, of clock, of memory; of a line
RIGHT = ("right value", "one clear line")
WRONG = ("silent wrong", "refused though right", "traceback", "crash", "> 20 s", "> 4 GB")
Maker = Callable[[Path, np.random.Generator], "Attempt"]


@dataclass
class Attempt:
    """A command, and what may come of it.

    Attributes
    ----------
    command : for `cli.main`.
    values : answers that are right; none where only a line is.
    line : whether a line is right.
    otherwise : makes more right answers, once the command has answered something else.
    read : the answer in what the command printed.
    """

    command: list[str]
    values: list[Any]
    line: bool = False
    otherwise: Callable[[], list[Any]] = list
    read: Callable[[str], Any] = field(default=lambda printed: json.loads(printed))


@functools.cache
def tables() -> dict[str, tuple[float, dict[str, Maker]]]:
    """Share of the cases, and makers by name, of each part."""
    import fuzz_own_data
    import fuzz_scores
    import fuzz_settings

    return fuzz_scores.TABLES | fuzz_own_data.TABLES | fuzz_settings.TABLES


def cases(count: int, seed: int) -> Iterator[tuple[str, int]]:
    """Names and seeds: every maker of a part before any comes again."""
    for part, (share, table) in tables().items():
        names = np.random.default_rng(seed).permutation(sorted(table)).tolist()
        for k in range(round(count * share)):
            yield f"{part}/{names[k % len(names)]}", seed + k


def run(case: str, seed: int) -> tuple[str, str]:
    """What came of a case: one of `RIGHT` and `WRONG`, and what was said."""
    part, name = case.split("/", 1)
    maker = tables()[part][1][name]
    with tempfile.TemporaryDirectory(prefix="fuzz") as folder:
        told = Path(folder) / "told.json"
        done, finished = os.pipe()
        pid = os.fork()
        if not pid:
            code = 70
            try:
                os.setsid()
                _limit()
                with contextlib.chdir(folder):
                    told.write_text(json.dumps(_outcome(maker, Path(folder), np.random.default_rng(seed))))
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        os.close(finished)
        late = not select.select([done], [], [], PATIENCE)[0]
        os.close(done)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL) if late else None
        _, status, usage = os.wait4(pid, 0)
        code = os.waitstatus_to_exitcode(status)
        if late or code == -signal.SIGXCPU:
            return "> 20 s", f"ended after {SECONDS} s of processor time or {PATIENCE} s"
        if code:
            return "crash", f"exit status {code}"
        if usage.ru_maxrss > GIGABYTES * 2**20:
            return "> 4 GB", f"{usage.ru_maxrss / 2**20:.1f} GB"
        return tuple(json.loads(told.read_text()))


def _limit() -> None:
    hard = [resource.getrlimit(kind)[1] for kind in (resource.RLIMIT_CPU, resource.RLIMIT_AS)]
    space = psutil.Process().memory_info().vms + (GIGABYTES + 2) * 2**30
    used = int(time.process_time())
    resource.setrlimit(resource.RLIMIT_CPU, (used + SECONDS, hard[0]))
    resource.setrlimit(resource.RLIMIT_AS, (space, hard[1]))


def _outcome(maker: Maker, folder: Path, rng: np.random.Generator) -> tuple[str, str]:
    """The case itself, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the libraries that write the case's files
        attempt = maker(folder, rng)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            cli.main(attempt.command)
        answer = attempt.read(out.getvalue())
    except SystemExit as refused:
        said = str(refused.code)
        clear = said.startswith("scmobench: ") and "\n" not in said and len(said) < LONGEST
        if not clear or "Traceback" in err.getvalue():
            return "traceback", f"{said}\n{err.getvalue()}"
        return ("one clear line" if attempt.line else "refused though right"), said
    except MemoryError:
        return "> 4 GB", traceback.format_exc()
    except BaseException:
        return "traceback", traceback.format_exc()
    if "Traceback" in err.getvalue() or "Warning" in err.getvalue():
        return "traceback", err.getvalue()
    for values in (lambda: attempt.values, attempt.otherwise):
        if any(same(answer, value) for value in values()):
            return "right value", ""
    return "silent wrong", f"answered {answer}, right: {attempt.values or 'an error'}"


def same(answer: Any, value: Any, tolerance: float = 1e-9) -> bool:
    """Equal scores, of the metrics that ``value`` names."""
    if not isinstance(value, dict):
        return answer == value
    pairs = [(answer[name], expected) for name, expected in value.items()]
    if any((a is None) != (b is None) for a, b in pairs):
        return False
    return all(a is None or abs(a - b) <= tolerance * max(1, abs(b)) for a, b in pairs)


def fuzz(count: int, seed: int) -> dict[str, list[tuple[str, int, str]]]:
    """Case, seed and what was said, by what came of it."""
    found = collections.defaultdict(list)
    for part, (_, table) in tables().items():  # here, so that no case has to import and read the same again
        if part != "settings":  # nobody can fork once PyTorch has trained
            with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
                _outcome(next(iter(table.values())), Path(folder), np.random.default_rng(seed))
    gc.freeze()  # so that a fork copies less
    for number, (case, each) in enumerate(cases(count, seed), 1):
        verdict, said = run(case, each)
        found[verdict].append((case, each, said))
        if verdict in WRONG:
            print(f"{verdict}: python tests/fuzz.py '{case}:{each}'\n    {said.strip()[-700:]}", flush=True)
        if not number % 100:
            print(f"{number} of {count} cases", flush=True)
    return found


@contextlib.contextmanager
def quick() -> Iterator[None]:
    """Without a start of Python for each inspection, and with the metrics and tasks read once."""
    kept = foreign.subprocess, config.compose, evaluate.metrics
    foreign.subprocess = inspected.FORKED
    composed = functools.cache(lambda *overrides: kept[1](list(overrides)))
    config.compose = lambda given=(), folder=None: kept[1](given, folder) if folder else composed(*given)
    evaluate.metrics = functools.cache(evaluate.metrics)
    try:
        yield
    finally:
        foreign.subprocess, config.compose, evaluate.metrics = kept


if __name__ == "__main__":
    sys.modules["fuzz"] = sys.modules[__name__]
    parser = argparse.ArgumentParser(description="Fuzz the command line.")
    parser.add_argument("case", nargs="?", help="one case alone, as it was printed: NAME:SEED")
    parser.add_argument("--count", type=int, default=1520)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.case:
        print(*run(options.case.rpartition(":")[0], int(options.case.rpartition(":")[2])), sep="\n")
        sys.exit()
    with quick():
        found = fuzz(options.count, options.seed)
    for verdict in (*RIGHT, *WRONG):
        print(f"{verdict:<22}{len(found[verdict]):>6}")
    sys.exit(any(found[verdict] for verdict in WRONG))
