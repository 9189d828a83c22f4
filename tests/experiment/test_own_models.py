"""Methods from outside the package, as the command line runs them; several processes at the same run."""

import contextlib
import re
import signal
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from command_line import OWN, begin, here, own_model, scmobench
from scmobench.experiment import catalogue, kept, run
from scmobench.experiment.config import build, compose
from scmobench.experiment.plan import Plan
from scmobench.experiment.run import at_prediction, respond
from scmobench.models.base import Model


def test_a_model_from_outside_the_package(tmp_path: Path) -> None:
    own_model(
        tmp_path,
        "        self.n = data.train_mod2.n_vars\n        return self\n\n"
        "    def predict(self, data):\n        return np.ones((data.test_mod1.n_obs, self.n))\n",
    )
    line = ("run", "--config-dir", "mine", "dataset=tiny_cite", "model=own")
    refused = here(*line, cwd=tmp_path)
    assert refused.returncode == 1
    assert "modules=[my_method]" in refused.stderr
    valid = here("validate", *line[1:], "modules=[my_method]", cwd=tmp_path)
    assert "test cells) with Own" in valid.stdout, valid.stderr
    done = here(*line, "modules=[my_method]", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "predict_modality tiny_cite GEX2ADT own seed 0" in done.stdout
    assert "finished before" in here(*line, "modules=[my_method]", cwd=tmp_path).stdout
    for modules in ("[]", "[my_methd]", "[my_method,my_methd]"):
        mistyped = here(*line, f"modules={modules}", cwd=tmp_path)
        assert mistyped.returncode == 1, "also where the run is finished"
        assert "modules" in mistyped.stderr
    code = (tmp_path / "my_method.py").read_text()
    (tmp_path / "my_method.py").write_text(code.replace("np.ones(", "2 * np.ones("))
    changed = here(*line, "modules=[my_method]", cwd=tmp_path)
    assert "finished before" not in changed.stdout, "other code is another run"
    one, two = (r for r in kept.read([tmp_path / "runs"]) if r["status"] == "ok")
    assert one["prediction_hash"] != two["prediction_hash"]
    assert one["config"]["model"] == two["config"]["model"]


ONE = np.ones((1, 1))


@pytest.mark.parametrize(
    ("base", "fit", "predict", "message"),
    [
        (object, "self", ONE, "expected a scmobench.models.base.Model, found Slip: inherit from it"),
        (Model, None, ONE, "expected fit to end in `return self`, found that it returns None"),
        (Model, "self", [[1.0]], "found list: convert it, e.g. by np.asarray()"),
        (Model, "self", ONE + 0j, "expected real numbers in what predict returns, found complex128"),
        (Model, "self", np.ma.array(ONE), "or a scipy.sparse matrix, found MaskedArray"),
    ],
)
def test_slips_in_a_model_are_named(base: type, fit: str | None, predict: object, message: str) -> None:
    methods = {"fit": lambda self, data, seed: self if fit else None, "predict": lambda self, data: predict}
    cfg = compose(["dataset=tiny_cite"])
    problem = build(cfg.task).split(Plan(cfg).cells, "from_gex")
    with pytest.raises(ValueError, match=re.escape(message)):
        respond(type("Slip", (base,), methods)(), problem, 0)


@pytest.mark.parametrize("task", ["predict_modality", "match_modality", "joint_embedding"])
def test_training_labels_reach_no_model_that_does_not_declare_them(task: str) -> None:
    class Curious(Model):
        def fit(self, data, seed):
            self.seen = [data.labels]
            return self

        def predict(self, data):
            self.seen.append(data.labels)
            return np.ones((1, 1))

        similarity = predict

    class Declared(Curious):
        label_supervised = True

    paired = Plan(compose(["dataset=tiny_cite"])).cells
    training = set(paired.obs.index[paired.obs["is_train"]])
    problem = build(compose([f"task={task}"]).task).split(paired, "from_gex")
    for kind, known in ((Curious, False), (Declared, True)):
        model = kind()
        respond(model, problem, 0)
        model.similarity(at_prediction(model, problem))
        assert [labels is not None for labels in model.seen] == [known] * 3
        assert all(labels is None or set(labels.index) <= training for labels in model.seen)


STOP = "type('Stop', (KeyboardInterrupt,), {})('enough')"


@pytest.mark.parametrize(
    ("stop", "reason"),
    [
        ("SystemExit(3)", "called sys.exit(3)"),
        ("SystemExit", "called sys.exit(None)"),
        (STOP, "raised Stop(enough)"),
        ("GeneratorExit", "raised GeneratorExit()"),
    ],
)
def test_a_model_that_exits_is_a_failed_run_of_a_sweep_that_goes_on(
    stop: str, reason: str, tmp_path: Path
) -> None:
    own_model(tmp_path, f"        raise {stop}\n\n    def predict(self, data): ...\n")
    done = here("run", "-m", *OWN, "model=own,mean", cwd=tmp_path)
    assert "1 ran, 1 failed" in done.stdout
    assert f"found that the run {reason} (my_method.py, line 7)\n" in done.stderr
    failed, ran = sorted(kept.read([tmp_path / "runs"]), key=lambda record: record["status"])
    assert reason in failed["message"]
    assert ran["method"] == "mean"


def test_an_interrupt_ends_the_sweep(tmp_path: Path) -> None:
    own_model(tmp_path, "        raise KeyboardInterrupt\n\n    def predict(self, data): ...\n")
    done = here("run", "-m", *OWN, "model=own,mean", cwd=tmp_path)
    assert "interrupted; what is finished stays" in done.stderr
    assert not list(tmp_path.rglob("record.json"))


def test_a_worker_that_ray_ends_leaves_no_failed_record(tmp_path: Path) -> None:
    """Ray ends a worker by an exit, as when the sweep has had a SIGTERM: the run has not failed."""
    pytest.importorskip("ray")
    ends = "from ray._private.worker import raise_sys_exit_with_custom_error_message as end"
    body = f"        {ends}\n        end('The process receives a SIGTERM.', exit_code=1)\n\n"
    own_model(tmp_path, f"{body}    def predict(self, data): ...\n")
    assert here("run", *OWN, "model=own", cwd=tmp_path).returncode == 1
    assert not list(tmp_path.rglob("record.json"))


def test_a_class_that_lacks_a_method_is_told_in_one_line(tmp_path: Path) -> None:
    own_model(tmp_path, "        return self\n\n    def predcit(self, data): ...\n")
    for command in ("run", "validate"):
        (told,) = here(command, *OWN, "model=own", cwd=tmp_path).stderr.splitlines()
        assert "expected my_method.Own to define predict: write it or check" in told


def test_yaml_in_another_encoding_is_named_and_reads_once_it_is_utf8(tmp_path: Path) -> None:
    own_model(tmp_path, "        return self\n\n    def predict(self, data): ...\n")
    file = tmp_path / "mine" / "model" / "own.yaml"
    text = file.read_text() + "source: Müller\n"
    file.write_bytes(text.encode("latin-1"))
    (told,) = here("validate", *OWN, "model=own", cwd=tmp_path).stderr.splitlines()
    assert "own.yaml, found other text at byte" in told
    file.write_text(text, encoding="utf-8")
    assert here("validate", *OWN, "model=own", cwd=tmp_path).returncode == 0


def test_files_in_utf8_are_read_in_every_locale(tmp_path: Path) -> None:
    means = "        self.mean = data.train_mod2.X.toarray().mean(0)\n        return self  # Müller\n\n"
    predicts = "    def predict(self, data): return np.tile(self.mean, (data.test_mod1.n_obs, 1))\n"
    own_model(tmp_path, f"{means}{predicts}")
    with (tmp_path / "mine" / "model" / "own.yaml").open("a", encoding="utf-8") as yaml:
        yaml.write("source: Müller\n")
    ascii_alone = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    for variables in ({}, ascii_alone):
        done = scmobench("run", *OWN, "model=own", cwd=tmp_path, **variables)
        assert done.returncode == 0, done.stderr
    assert "finished before" in done.stdout, "its code is the same"


SLIPS = {
    "fit": ("def predict(self): ...", "expected predict(self, data), found predict(self): correct it"),
    "init": ("def __init__(self, depth): ...", "expected a setting 'depth', found none: add it"),
    "report": ("def report(self): return {(1, 2): 3}", "expected report to return a dict with text as keys"),
    "list": ("def report(self): return [1]", "expected report to return a dict with text as keys, found [1]"),
    "factors": ("def similarity(self, data): return 3", "expected similarity to return two matrices or None"),
    "body": ("def predict(self, data): return 1 + 'a'", "for +: 'int' and 'str' (my_method.py, line 13)"),
}


@pytest.mark.parametrize(("slip", "told"), SLIPS.values(), ids=SLIPS)
def test_a_wrong_type_in_a_method_is_told_in_one_line(slip: str, told: str, tmp_path: Path) -> None:
    body = "        self.n = data.train_mod2.n_vars\n        return self\n\n    def predict(self, data):\n"
    own_model(tmp_path, f"{body}        return np.ones((data.test_mod1.n_obs, self.n))\n\n    {slip}\n")
    done = here("run", *OWN, "model=own", cwd=tmp_path)
    assert done.returncode == 1
    assert told in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_wrong_type_in_our_own_code_keeps_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run, "sizes", lambda problem: 1 + "a")
    with pytest.raises(TypeError, match="unsupported operand"):
        here("run", "dataset=tiny_cite", "model=mean", cwd=tmp_path)
    monkeypatch.setattr(catalogue, "lacks", lambda name: 1 + "a")
    with pytest.raises(TypeError, match="unsupported operand"):
        here("models", cwd=tmp_path)


def test_errors_of_a_model_from_outside_say_where_and_do_not_stop_a_sweep(tmp_path: Path) -> None:
    own_model(tmp_path, "        data.labels['cell_type']\n\n    def predict(self, data): ...\n")
    done = here("run", "-m", *OWN, "model=own", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 1
    assert "2 failed in" in done.stdout
    assert "Traceback" not in done.stderr
    assert "(my_method.py, line 7; fit is given data.test_mod1 where" in done.stderr
    assert len(list((tmp_path / "runs" / "failed").rglob("record.json"))) == 2


HELD = """\
        import os, pathlib, signal, time
        fits = pathlib.Path("fits")
        fits.write_text((fits.read_text() if fits.is_file() else "") + "fit ")
        end = time.monotonic() + 60
        while not pathlib.Path("go").is_file() and time.monotonic() < end:
            time.sleep(0.05)
        if os.environ.get("KILLED") and fits.read_text() == "fit ":
            os.kill(os.getpid(), signal.SIGKILL)
        self.n = data.train_mod2.n_vars
        return self

    def predict(self, data):
        return np.ones((data.test_mod1.n_obs, self.n))
"""


@pytest.mark.parametrize("killed", ["", "1"])
def test_two_processes_never_make_the_same_run_at_once(
    killed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first and takes its record, or its place where it was killed."""
    monkeypatch.setenv("KILLED", killed)
    own_model(tmp_path, HELD)
    arguments = ("run", *OWN, "model=own")
    with begin(*arguments, cwd=tmp_path) as first:
        while not (tmp_path / "fits").is_file():
            assert first.returncode is None, first.stdout.read()
            time.sleep(0.05)
        with begin(*arguments, cwd=tmp_path) as second:
            told = next((line for line in second.stdout if "another process makes this run" in line), "")
            (tmp_path / "go").touch()
            assert told, "it did not wait"
            assert ("finished before" in second.stdout.read()) != bool(killed)
    assert (first.returncode, second.returncode) == (-9 if killed else 0, 0)
    assert (tmp_path / "fits").read_text() == ("fit fit " if killed else "fit ")
    assert len(kept.read([tmp_path / "runs"])) == 1


def signalled(arguments: tuple[str, ...], number: signal.Signals, folder: Path) -> tuple[int, str]:
    """Exit status and output of a command that is sent a signal once its training can be resumed."""
    with begin(*arguments, cwd=folder) as process:
        while not list(folder.rglob("resume.ckpt")):
            assert process.returncode is None, process.stdout.read()
            time.sleep(0.05)
        process.send_signal(number)
        while process.wait(20) is None:  # Python drops an interrupt that comes within a finaliser
            process.send_signal(number)  # a user asks again
        told = process.stdout.read()
    return process.returncode, told


def test_a_time_limit_ends_the_sweep_and_is_no_failure(tmp_path: Path) -> None:
    arguments = ("run", "-m", "model=scmognn,mean", "dataset=tiny_cite", "trainer.resume_every_seconds=0")
    arguments += ("++model.predict_modality.max_epochs=500", "++model.predict_modality.patience=500")
    code, told = signalled(arguments, signal.SIGTERM, tmp_path)
    assert code == 128 + signal.SIGTERM, told
    assert "scmobench: ended by SIGTERM; what is finished stays, the same command makes the rest\n" in told
    assert not list(tmp_path.rglob("record.json"))


def test_an_interrupted_run_says_where_it_goes_on(tmp_path: Path) -> None:
    arguments = ("run", "model=scmognn", "dataset=tiny_cite", "model.predict_modality.patience=500")
    arguments += ("model.predict_modality.max_epochs=60", "trainer.resume_every_seconds=0")
    code, told = signalled(arguments, signal.SIGINT, tmp_path)
    assert code == 128 + signal.SIGINT, told
    assert "Traceback" not in told
    assert re.search(r"interrupted in epoch \d+; the same command goes on after epoch \d+", told), told
    arguments = (*arguments[:-1], "trainer.resume_every_seconds=1000")
    with begin(*arguments, cwd=tmp_path, terminal=True) as second:  # writes no state before it is interrupted
        while not re.search(r"\b[1-9]\d*/60 epochs", piece := second.stdout.readline()):  # it trains
            assert piece, "it ended"
        second.send_signal(signal.SIGINT)
        with contextlib.suppress(OSError):  # Linux raises it where a terminal's other end is closed
            for line in second.stdout:
                piece += line
    again = re.search(r"the same command goes on after epoch \d+", piece)
    assert again is not None, piece
    assert again[0] in told
    done = here(*arguments, "trainer.checkpoint=true", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (record,) = kept.read([tmp_path / "runs"])
    assert "interrupted and resumed" in record["report"]["notes"]
    (path,) = tmp_path.rglob("best.ckpt")
    best = torch.load(path)
    assert best["epoch"] == record["report"]["best_epoch"]
    assert sum(p.numel() for p in best["state_dict"].values()) >= record["parameters"] > 0


def test_a_reader_that_closes_the_pipe_gets_no_error(tmp_path: Path) -> None:
    with begin("data", "describe", "tiny_cite", cwd=tmp_path) as described:
        described.stdout.close()
    assert described.returncode == 0


def test_a_traceback_comes_when_it_is_asked_for(tmp_path: Path) -> None:
    own_model(tmp_path, "        raise ValueError('my bug')\n\n    def predict(self, data): ...\n")
    line = ("run", "model=own", *OWN)
    assert "Traceback" not in scmobench(*line, cwd=tmp_path).stderr
    told = scmobench(*line, cwd=tmp_path, SCMOBENCH_TRACEBACK="1").stderr
    assert "Traceback" in told
    assert "my_method.py" in told
    (failed,) = (tmp_path / "runs" / "failed").rglob("record.json")
    failed.unlink()
    scmobench(*line, cwd=tmp_path, SCMOBENCH_TRACEBACK="1")
    assert failed.is_file(), "a failed run leaves its record then, too"
