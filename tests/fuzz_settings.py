"""Cases of `scmobench run`: a setting's own value said again, misspelt keys, and odd values."""

import contextlib
import functools
import io
import json
import os
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import lightning  # noqa: F401  (once, not in every case)
import numpy as np
from omegaconf import DictConfig, OmegaConf

import odd_settings
from fuzz import Attempt
from odd_settings import command, keys
from scmobench import cli


@functools.cache
def known(model: str) -> DictConfig:
    """As `command` runs it, without the override."""
    return odd_settings.compose([o for o in command(model, Path("runs")) if "=" in o])


def scores(folder: Path) -> float | None:
    """RMSE of the one run in a folder; None where there are none or more."""
    records = list(folder.rglob("record.json"))
    return json.loads(records[0].read_text())["scores"]["rmse"]["value"] if len(records) == 1 else None


def attempt(model: str, override: str, folder: Path, right: list[Any], **more: Any) -> Attempt:
    runs = folder / "runs"
    return Attempt(command(model, runs, override), right, read=lambda printed: scores(runs), **more)


@functools.cache
def leaves(model: str) -> dict[str, str]:
    """Every setting and its value as Hydra's grammar says it; none that chooses a file or a folder."""
    found = {}
    for key in keys():
        value = OmegaConf.select(known(model), key)
        simple = isinstance(value, (bool, int, float)) or (isinstance(value, str) and "." in key)
        if simple and not key.startswith("hydra"):
            found[key] = json.dumps(value).replace('"', "'")
    return found


def kept(model: str, key: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """The same value again: the same score."""
    return attempt(model, f"{key}={leaves(model)[key]}", folder, [plain(model)])


def misspelt(model: str, key: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """Another letter in its place, or one more: there is no such setting.

    Nor where ``+`` adds it to what is built of its settings; other groups may hold what nobody reads.
    """
    last = len(key) - int(rng.integers(len(key.rsplit(".", 1)[-1])))
    wrong = key[: last - int(rng.integers(2))] + str(rng.choice(list("qxz"))) + key[last:]
    built = key.startswith(("model.predict_modality.", "dataset.", "task."))
    plus = rng.choice(["", "+", "++"]) if built else ""
    return attempt(model, f"{plus}{wrong}={leaves(model)[key]}", folder, [], line=True)


def odd(key: str, folder: Path, rng: np.random.Generator) -> Attempt:
    """Anything as a value: a run, or a line."""
    override = f"{key}={rng.choice(list(odd_settings.VALUES))}"
    model = odd_settings.MODELS[OmegaConf.select(known(odd_settings.MODELS[0]), key) is None]
    return attempt(model, override, folder, [], line=True, otherwise=lambda: [scores(folder / "runs")])


@functools.cache
def plain(model: str) -> float | None:
    """The score of a run without an override; in a fork, as this process must not train before it forks."""
    with tempfile.TemporaryDirectory() as folder:
        pid = os.fork()
        if not pid:
            with contextlib.redirect_stdout(io.StringIO()):
                cli.main(command(model, Path(folder)))
            os._exit(0)
        os.waitpid(pid, 0)
        return scores(Path(folder))


settings: dict[str, Any] = {f"odd, {key}": partial(odd, key) for key in keys()}
for model in odd_settings.MODELS:
    for maker in (kept, misspelt):
        settings |= {f"{maker.__name__}, {model}, {key}": partial(maker, model, key) for key in leaves(model)}
    plain(model)
TABLES = {"settings": (0.12, settings)}
