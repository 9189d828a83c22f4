"""The training loop: the best epoch, logs, resuming, and settings that are refused."""

import logging
import pickle
import re
import resource
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.console import Console

from scmobench.experiment.config import build, compose
from scmobench.machine import terminal
from scmobench.training import forecast, resume
from scmobench.training.fit import TrainerSettings, _trainer, train
from scmobench.training.loggers import csv_logger
from scmobench.training.surroundings import seeded

ONE_BATCH = [torch.zeros(1)]


class Walk(LightningModule):
    """A weight that falls by 1 at each epoch and scores its distance from 5; noise beside it."""

    def __init__(self, start=10.0):
        super().__init__()
        self.w = torch.nn.Parameter(torch.tensor(start))
        self.noise = torch.nn.Parameter(torch.tensor(0.0))
        self.calls = 0

    def training_step(self, batch, _):
        self.calls += 1
        return self.w + self.noise * torch.rand(())

    def validation_step(self, batch, _):
        self.log("validation", (self.w - 5).abs(), batch_size=1)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1.0)


class OtherScore(Walk):
    def validation_step(self, batch, _):
        self.log("other", self.w, batch_size=1)


def test_training_stops_and_restores(tmp_path, capfd, monkeypatch):
    monkeypatch.chdir(tmp_path)
    module = Walk()
    fit = train(module, ONE_BATCH, ONE_BATCH, max_epochs=50, patience=3)
    assert (fit.best, fit.best_epoch, fit.epochs) == (0, 4, 8)
    assert float(module.w) == 5
    module = Walk()
    fit = train(module, ONE_BATCH, ONE_BATCH, max_epochs=50, patience=3, min_epochs=20)
    assert (fit.epochs, float(module.w)) == (20, 5)
    fit = train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=50, settings=TrainerSettings(max_epochs=4))
    assert (fit.epochs, fit.best) == (4, 1)
    assert not list(tmp_path.iterdir())
    assert capfd.readouterr() == ("", "")
    assert logging.getLogger("lightning.pytorch").level != logging.ERROR


def test_a_long_fit_says_how_long_it_may_take_and_its_advice_ends_it(capfd, monkeypatch):
    monkeypatch.setattr(forecast, "MEASURED", 0.0)
    monkeypatch.setattr(forecast, "LONG", 0.0)
    train(Walk(), ONE_BATCH * 3, ONE_BATCH, max_epochs=50)
    told = capfd.readouterr().err
    assert re.match(
        r"this may take up to 0 s: 50 epochs of \S+ s, fewer once validation stops improving; ", told
    )
    assert told.count("\n") == 1
    (limit,) = re.findall(r"trainer\.max_seconds=(\d+) ends it after 15 minutes", told)
    assert int(limit) == 15 * 60
    cfg = compose([f"trainer.max_seconds={limit}"]).trainer
    settings = replace(build(cfg, TrainerSettings), max_seconds=0.001)
    assert train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=50, settings=settings).epochs < 50


def test_a_higher_score_can_be_better_and_never_a_number_is_an_error():
    fit = train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=7, mode="max")
    assert (fit.best, fit.best_epoch) == (4, 0)
    with pytest.raises(ValueError, match="lower the learning rate"):
        train(Walk(float("nan")), ONE_BATCH, ONE_BATCH, max_epochs=2)
    with pytest.raises(ValueError, match=r"log 'validation' in validation_step, found \['other'\]"):
        train(OtherScore(), ONE_BATCH, ONE_BATCH, max_epochs=2)


def test_log_goes_where_it_is_sent_and_a_bar_to_a_terminal_alone(tmp_path, capfd, monkeypatch):
    settings = TrainerSettings(logger=csv_logger, folder=tmp_path)
    train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=3, settings=settings)
    assert [f.name for f in tmp_path.iterdir()] == ["metrics.csv"]
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 3
    assert "".join(capfd.readouterr()) == ""
    monkeypatch.setattr(terminal, "watched", lambda: True)
    monkeypatch.setattr(terminal, "console", lambda: Console(stderr=True, force_terminal=True, width=120))
    train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=3)
    assert "3/3 epochs" in capfd.readouterr().err


class Killed(Walk):
    """Dies before its best epoch, so that what comes back was drawn after."""

    def training_step(self, batch, step):
        if self.calls == 3:
            raise SystemError("killed")
        return super().training_step(batch, step)


def test_a_killed_run_goes_on_to_the_same_bytes(tmp_path, capfd):
    settings = TrainerSettings(folder=tmp_path, resume_every_seconds=0, logger=csv_logger)
    with seeded(3):
        straight = Walk()
        expected = train(straight, ONE_BATCH, ONE_BATCH, max_epochs=12)

    with seeded(3), pytest.raises(SystemError):
        train(Killed(), ONE_BATCH, ONE_BATCH, max_epochs=12, settings=settings)
    assert resume.RESUME_FILE in [f.name for f in tmp_path.iterdir()]
    assert capfd.readouterr().err == ""
    with seeded(99):
        resumed = Walk()
        found = train(resumed, ONE_BATCH, ONE_BATCH, max_epochs=12, settings=settings)
    assert capfd.readouterr().err == "training continues where it was stopped\n"
    assert resumed.calls == 9
    assert found == expected
    assert "resumed" in found.summary(resumed)["notes"]
    assert "resumed" not in expected.summary(straight)["notes"]
    assert resumed.noise.item() == straight.noise.item() != 0
    assert sorted(f.name for f in tmp_path.iterdir()) == ["metrics.before-0.csv", "metrics.csv"]
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 9


def test_a_full_disk_ends_no_training(tmp_path, capfd):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    settings = TrainerSettings(folder=tmp_path, resume_every_seconds=0)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))  # as a full disk: the write fails
        fit = train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=12, settings=settings)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert (fit.epochs, fit.best) == (12, 0)
    (told,) = capfd.readouterr().err.splitlines()
    assert told.startswith(f"expected to write {tmp_path / resume.RESUME_FILE}, found File too large: ")
    assert told.endswith("; training goes on")
    assert not list(tmp_path.iterdir())


class Planted:
    """Makes a file where it is unpickled."""

    def __init__(self, place):
        self.place = place

    def __reduce__(self):
        return Path.touch, (self.place,)


@pytest.mark.parametrize("damage", ["other version", "half a file", "code"])
def test_a_resume_file_that_does_not_serve_is_put_away(tmp_path, monkeypatch, damage):
    settings = TrainerSettings(folder=tmp_path, resume_every_seconds=0)

    with pytest.raises(SystemError):
        train(Killed(), ONE_BATCH, ONE_BATCH, max_epochs=12, settings=settings)
    file = tmp_path / resume.RESUME_FILE
    if damage == "half a file":
        file.write_bytes(file.read_bytes()[:500])
    elif damage == "code":
        torch.save(torch.load(file) | {"planted": Planted(tmp_path / "ran")}, file)
    else:
        monkeypatch.setattr(resume, "VERSION", "99")
    anew = Walk()
    assert not train(anew, ONE_BATCH, ONE_BATCH, max_epochs=12, settings=settings).resumed
    assert anew.calls == 12
    assert not (tmp_path / "ran").exists()


def test_lightning_reads_the_resume_file_as_we_do(tmp_path):
    """Not by itself: it would unpickle what it is given."""
    torch.save({"planted": Planted(tmp_path / "ran")}, tmp_path / "file")
    trainer = _trainer(TrainerSettings(), 1, 1, [])
    with pytest.raises(pickle.UnpicklingError):
        trainer.strategy.load_checkpoint(tmp_path / "file")
    assert not (tmp_path / "ran").exists()


def test_one_process_trains_whatever_a_scheduler_says(tmp_path, monkeypatch):
    """A job of four tasks, of which this is the second: the same training, and its log is kept."""
    expected = train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=3)
    slurm = {"JOB_ID": 1, "JOB_NAME": "batch", "NTASKS": 4, "PROCID": 1, "LOCALID": 1, "NODEID": 0}
    for name, value in (slurm | {"JOB_NODELIST": "node1"}).items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setattr(rank_zero_only, "rank", 1)  # as Lightning reads it where it is imported
    settings = TrainerSettings(logger=csv_logger, folder=tmp_path)
    assert train(Walk(), ONE_BATCH, ONE_BATCH, max_epochs=3, settings=settings) == expected
    assert len(pd.read_csv(tmp_path / "metrics.csv")) == 3


def test_time_before_a_kill_counts(tmp_path):
    clock = resume.Clock(tmp_path, 60, 100, waits=False)
    clock.load_state_dict({"version": "", "seconds": 70.0, "waits": False})
    assert clock.state_dict()["seconds"] == pytest.approx(70, abs=1)


@pytest.mark.parametrize(
    ("setting", "value", "message"),
    [
        ("accelerator", "cuda", "found none: use auto or cpu"),
        ("precision", "16-mixed", "found the CPU: use bf16-mixed or 32-true"),
        ("precision", "16-products", "precision=16-products on a CUDA device, found the CPU"),
    ],
)
def test_trainer_settings_that_cannot_work_are_refused(setting, value, message, monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ValueError, match=message):
        TrainerSettings(**{setting: value})
