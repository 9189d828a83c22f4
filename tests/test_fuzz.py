"""Fifty cases of the fuzz test, always the same; `make fuzz` runs all."""

import os
import signal

import numpy as np
import pytest

import fuzz


def test_fifty_cases_are_right_or_one_line():
    with fuzz.quick():
        found = fuzz.fuzz(50, seed=19)
    assert not {verdict: cases for verdict, cases in found.items() if verdict in fuzz.WRONG}
    assert min(len(found[verdict]) for verdict in fuzz.RIGHT) > 10


def answers(command, answer="1", **expected):
    return lambda folder, rng: fuzz.Attempt(command, **{"values": []} | expected, read=lambda printed: answer)


def kill(folder, rng):
    os.kill(os.getpid(), signal.SIGKILL)


def spin(folder, rng):
    while True:
        pass


@pytest.mark.parametrize(
    ("maker", "verdict"),
    [
        (answers(["run", "--help"], values=["1"]), "right value"),
        (answers(["run", "--help"], values=["2"]), "silent wrong"),
        (answers(["run", "--help"], line=True), "silent wrong"),
        (answers(["run", "--help"], {"rmse": 1 + 1e-10}, values=[{"rmse": 1.0}]), "right value"),
        (answers(["run", "--help"], {"rmse": 1 + 1e-8}, values=[{"rmse": 1.0}]), "silent wrong"),
        (answers(["run", "--help"], {"rmse": None}, values=[{"rmse": 1.0}]), "silent wrong"),
        (answers(["data", "check", "nothing"], line=True), "one clear line"),
        (answers(["data", "check", "nothing"], values=["1"]), "refused though right"),
        (answers(["data", 5], line=True), "traceback"),
        (kill, "crash"),
        (spin, "> 20 s"),
        (
            lambda folder, rng: fuzz.Attempt(["run", "--help"], [], read=lambda printed: np.ones(2**33)),
            "> 4 GB",
        ),
    ],
)
def test_each_verdict_is_found(maker, verdict, monkeypatch):
    monkeypatch.setattr(fuzz, "tables", lambda: {"part": (1.0, {"case": maker})})
    monkeypatch.setattr(fuzz, "SECONDS", 1 if maker is spin else 60)  # on a busy machine too
    assert fuzz.run("part/case", 0)[0] == verdict
