"""Odd values for every setting, given to the command line: a right run or one clear line.

A part of it is a test; the whole is `python tests/odd_settings.py [SHARE] [SEED]` (half an hour), which
counts what came of it and prints all that was said.
"""

import collections
import contextlib
import functools
import io
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

from omegaconf import DictConfig, OmegaConf

from scmobench.cli import main
from scmobench.experiment.config import compose
from scmobench.experiment.loader import LONGEST, conf_dir

MODELS = ("svd_linear", "scmognn")
SLOW = 20  # seconds of the processor, whatever else is running
VALUES = ("5", "0.5", "-1", "0", "1000000000000", "1" + "0" * 30, "1e308", "1_000", "nan", "inf", "true")
VALUES += ("abc", "", "''", "null", "[1,a]", "[]", "{a:1}", "{}", "${nosuch}", "${oc.env:HOME}", "'???'")
VALUES += ("'é\u202e🧬'", "'a\nb'", "x" * 20_000, "../../up", "{_target_:os.system,command:'exit 3'}")


def keys() -> list[str]:
    """Every key of conf/config.yaml, and every setting of two models, a data set, a task and the trainer."""
    root = OmegaConf.load(conf_dir() / "config.yaml")
    found = [*(k for k in root if k not in ("defaults", "hydra")), "task", "dataset", "model", "trainer"]
    found += ["logger", "ablation", "ensemble", "launcher", "sweep"]
    for model in MODELS:
        cfg = _known(model)
        for group in (
            "model",
            "model.predict_modality",
            "dataset",
            "task",
            "trainer",
            "ensemble",
            "official_files",
        ):
            found += [f"{group}.{key}" for key in OmegaConf.select(cfg, group)]
    found += [
        f"hydra.{key}" for key in ("run.dir", "job.env_set", "callbacks", "launcher", "sweeper", "verbose")
    ]
    return list(dict.fromkeys(found))


def cases(share: float = 1.0, seed: int = 0) -> Iterator[tuple[str, str]]:
    """Model and override; ``share`` of all, drawn from ``seed``."""
    every = []
    for key in keys():
        trains = key.startswith(("trainer", "logger", "smoke")) or not _has(MODELS[0], key)
        every += [(MODELS[trains], f"{key}={value}") for value in VALUES]
    return iter(random.Random(seed).sample(every, max(1, round(share * len(every)))))


@functools.cache
def _known(model: str) -> DictConfig:
    return compose([f"model={model}", "dataset=tiny_cite"])


def _has(model: str, key: str) -> bool:
    return not key.startswith("model.") or OmegaConf.select(_known(model), key) is not None


def command(model: str, runs: Path, *overrides: str) -> list[str]:
    """A short run of a model, by the command line."""
    given = ["dataset=tiny_cite", f"model={model}", "smoke=true", "trainer.max_epochs=1", f"runs={runs}"]
    replaced = {o.split("=")[0] for o in overrides}
    return ["run", *(o for o in given if o.split("=")[0] not in replaced), *overrides]


def outcome(model: str, override: str, runs: str) -> tuple[str, str]:
    """``right``, ``line``, or what is wrong, and what was said."""
    said, begun = io.StringIO(), time.process_time()
    try:
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(said), warnings.catch_warnings():
            main(command(model, Path(runs), override))
        result = "right"
    except SystemExit as error:
        told = str(error.code)
        clear = told.startswith("scmobench: ") and "\n" not in told and len(told) < LONGEST + 200
        result = "line" if clear else "exit"
        said.write(told)
    except BaseException as error:
        result = "traceback"
        said.write(f"{type(error).__name__}: {error}")
    text = said.getvalue()
    if "Traceback" in text or "HYDRA_FULL_ERROR" in text or "Warning" in text:
        result = "traceback"
    return ("slow" if time.process_time() - begun > SLOW else result), text


def sweep(share: float, seed: int = 0) -> dict[str, list[tuple[str, str]]]:
    """Override and words of every case, by what came of it."""
    found = collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for number, (model, override) in enumerate(cases(share, seed)):
            result, said = outcome(model, override, f"{folder}/{number}")
            found[result].append((override, said))
        left = {path.name for path in Path(folder).iterdir() if not path.name.isdigit()}
        if Path(folder).parent.joinpath("up").exists():
            found["escaped"].append(("../../up", str(left)))
    return found


if __name__ == "__main__":
    share, seed = (
        [*map(float, sys.argv[1:]), 1.0, 0.0][:2] if len(sys.argv) < 3 else map(float, sys.argv[1:3])
    )
    found = sweep(share, int(seed))
    for result, each in found.items():
        if result != "right":
            for override, said in each:
                print(f"{result:<10} {override[:70]!r:<75} {said[-400:]!r}")
    print({result: len(each) for result, each in found.items()})
    sys.exit(any(result not in ("right", "line") for result in found))
