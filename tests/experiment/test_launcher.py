"""Launchers: a sweep gives the same records wherever its runs run, and what runs them is no part of a run."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path

import pytest
from hydra import compose as hydra_compose
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.utils import JobReturn, JobStatus
from joblib.externals.loky import get_reusable_executor
from omegaconf import DictConfig, OmegaConf

from command_line import begin, forked, here, on_a_terminal, own_model
from scmobench.cli import main
from scmobench.experiment import kept
from scmobench.experiment.config import compose, conf_dir, names
from scmobench.experiment.ensemble import members
from scmobench.experiment.launcher import Workers, enter
from scmobench.experiment.plan import Plan, method_name
from scmobench.experiment.sweep_progress import LEDGER, TOTAL, Progress, end_of_sweep
from scmobench.machine.arithmetic import THREADS

PACKAGES = {"joblib": "joblib_launcher", "ray": "ray_launcher", "slurm": "submitit_launcher"}
INSTALLED = {name: find_spec(f"hydra_plugins.hydra_{package}") for name, package in PACKAGES.items()}
NEEDS_RAY, NEEDS_SUBMITIT = (
    pytest.mark.skipif(not INSTALLED[name], reason="needs the extra: pip install -e '.[cluster]'")
    for name in ("ray", "slurm")
)
SWEEP = ("run", "-m", "--config-dir", "mine", "modules=[my_method]", "dataset=tiny_cite", "smoke=true")
TASKS = "task=predict_modality,match_modality"  # the user's own model matches no cells: that run fails
BOTH, OWN = "model=own,scmognn", "model=own"
ITS_OWN = ("seconds", "peak_memory_gb", "finished", "command", "commit")  # of each run or checkout
# the user's method says which threads it has, where it stands, and whether Ray may report
METHOD = """        import os
        shown = {key: os.environ.get(key) for key in ("OPENBLAS_NUM_THREADS", "RAY_USAGE_STATS_ENABLED")}
        print("worker", shown, os.getcwd(), flush=True)
        self.n = data.train_mod2.n_vars
        return self

    def predict(self, data):
        factor = np.random.default_rng(0).normal(size=(data.test_mod1.n_vars, self.n))
        return data.test_mod1.X.toarray() @ factor
"""


def outcome(folder: Path) -> list[dict]:
    """Every record below ``folder/runs`` without what differs from run to run, in a fixed order."""
    found = [{k: v for k, v in r.items() if k not in ITS_OWN} for r in kept.read([folder / "runs"])]
    return sorted(found, key=lambda r: (r["task"], r["method"], r["seed"]))


def own(records: list[dict]) -> list[dict]:
    """Those of the user's own method."""
    return [r for r in records if r["method"].startswith("own")]


def place(folder: Path) -> Path:
    own_model(folder, METHOD)
    return folder


@pytest.fixture(scope="module")
def serial(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    """What the sweep leaves, one run after the other in one process."""
    folder = place(tmp_path_factory.mktemp("serial"))
    done = here(*SWEEP, TASKS, BOTH, cwd=folder, OMP_NUM_THREADS="1")
    assert "3 ran, 1 failed" in done.stdout, done.stderr
    return outcome(folder)


def free_ports(count: int) -> list[str]:
    """Different ones: a port that is given back at once may be given again."""
    with ExitStack() as held:
        listening = [held.enter_context(socket.socket()) for _ in range(count)]
        for one in listening:
            one.bind(("127.0.0.1", 0))
        return [str(one.getsockname()[1]) for one in listening]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A Ray cluster on the loopback address, begun in another folder and without the user's variables.

    Its address, and what it takes to join it.
    """
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "token").write_text(secrets.token_hex(32))
    to_join = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(elsewhere / "token")}
    to_join |= {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # as Ray calls a cluster that is on loopback alone
    kept = {k: v for k, v in os.environ.items() if k not in THREADS and not k.startswith("SCMOBENCH_")}
    ports = free_ports(3)
    sockets = tempfile.mkdtemp(prefix="ray", dir="/tmp")  # their paths must be short
    line = [
        sys.executable,
        "-m",
        "ray.scripts.scripts",
        "start",
        "--head",
        "--block",
        "--disable-usage-stats",
    ]
    line += ["--node-ip-address=127.0.0.1", "--num-cpus=2", "--include-dashboard=false", f"--port={ports[0]}"]
    line += [f"--ray-client-server-port={ports[1]}", f"--dashboard-agent-listen-port={ports[2]}"]
    with (elsewhere / "log").open("w") as log:
        head = subprocess.Popen(
            [*line, f"--temp-dir={sockets}"], cwd=elsewhere, env=kept | to_join, stdout=log, stderr=log
        )
    try:
        for _ in range(120):
            if head.poll() is not None or "runtime started" in (elsewhere / "log").read_text():
                break
            time.sleep(0.5)
        assert head.poll() is None, (elsewhere / "log").read_text()
        yield {"address": f"127.0.0.1:{ports[0]}", "folder": str(elsewhere), "sockets": sockets, **to_join}
    finally:
        head.terminate()
        head.wait(30)
        shutil.rmtree(sockets, ignore_errors=True)


def on_ray(cluster: dict[str, str], folder: Path, *chosen: str) -> tuple[int, str]:
    variables = {name: value for name, value in cluster.items() if name.startswith("RAY_")}
    where = f"hydra.launcher.ray.init.address={cluster['address']}"
    return forked(*SWEEP, *chosen, "launcher=ray", where, cwd=folder, OMP_NUM_THREADS="", **variables)


def printed_by_workers(folder: str | Path) -> str:
    """From the workers' files: Ray shows their lines to the user late, and the last ones perhaps never."""
    files = (Path(folder) / "session_latest" / "logs").glob("worker-*.out")
    return "".join(path.read_text() for path in sorted(files))


@NEEDS_RAY
def test_a_ray_cluster_gives_what_one_process_gives(
    serial: list[dict], cluster: dict[str, str], tmp_path: Path
) -> None:
    """One test, since pytest-xdist would begin a cluster for each."""
    done = here(*SWEEP, "task=match_modality", "model=scmognn", cwd=place(tmp_path), OMP_NUM_THREADS="1")
    assert "1 ran" in done.stdout, done.stderr
    code, said = on_ray(cluster, tmp_path, TASKS, BOTH)
    assert outcome(tmp_path) == serial, said
    assert {p.name for p in tmp_path.iterdir()} - {"__pycache__"} == {"runs", "mine", "my_method.py"}
    assert {p.name for p in Path(cluster["folder"]).iterdir()} == {"token", "log"}

    printed = printed_by_workers(cluster["sockets"])
    assert all(printed.count(f"[{number}/4]") == 1 for number in range(1, 5)), printed
    shown = {"OPENBLAS_NUM_THREADS": "1", "RAY_USAGE_STATS_ENABLED": "0"}
    assert f"worker {shown} {tmp_path.resolve()}\n" in printed
    assert printed.count("FAILED match_modality tiny_cite from_gex own seed 0: model 'own' does not") == 1

    assert code == 1
    assert "4 runs\n" in said
    assert said.splitlines()[-2].startswith("2 ran, 1 skipped, 1 failed in "), "after the workers' lines"
    assert "Traceback" not in said + printed

    code, refused = on_ray(cluster | {"RAY_AUTH_MODE": "disabled"}, tmp_path, OWN)
    assert code == 1
    assert f"scmobench: expected a Ray cluster at {cluster['address']}, found" in refused
    assert "Traceback" not in refused

    variables = {name: value for name, value in cluster.items() if name.startswith("RAY_")}
    own = (f"hydra.launcher.ray.init.address={cluster['address']}", "hydra.launcher.ray.remote.max_retries=0")
    (tmp_path / "dies").mkdir()
    dying(tmp_path / "dies", "launcher=ray", *own, OMP_NUM_THREADS="", **variables)


@NEEDS_RAY
def test_ray_without_an_address_is_a_cluster_of_its_own(serial: list[dict], tmp_path: Path) -> None:
    token = {"RAY_AUTH_TOKEN": secrets.token_hex(32)}
    line = (OWN, "launcher=ray", "hydra.launcher.ray.init.num_cpus=1")
    with tempfile.TemporaryDirectory(prefix="ray", dir="/tmp") as short:  # paths of sockets must be
        token["RAY_TMPDIR"] = short
        code, said = forked(*SWEEP, *line, cwd=place(tmp_path), OMP_NUM_THREADS="1", **token)
        printed = printed_by_workers(Path(short) / "ray")
    assert outcome(tmp_path) == own(serial), said
    assert code == 0
    assert "'RAY_USAGE_STATS_ENABLED': '0'" in printed
    assert "Token authentication" not in said


def test_joblib_gives_what_one_process_gives(
    serial: list[dict], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The workers' output is that of their processes, beside what the command says here."""
    line = (OWN, "launcher=joblib", "hydra.launcher.n_jobs=2")
    done = here(*SWEEP, TASKS, *line, cwd=place(tmp_path), OMP_NUM_THREADS="")
    assert outcome(tmp_path) == own(serial), done.stderr
    said = capfd.readouterr().out
    assert (said.count("[1/2] "), said.count("[2/2] ")) == (1, 1), said
    assert done.stdout.splitlines()[-1].startswith("1 ran, 1 failed in "), done.stdout
    get_reusable_executor().shutdown()


# the user's method is killed, or waits to be
DIES = """        import os, pathlib, signal, time
        if not pathlib.Path("stays").is_file():
            os.kill(os.getpid(), signal.SIGKILL)
        pathlib.Path("began").touch()
        time.sleep(60)

    def predict(self, data): ...
"""
REST = "; what is finished stays, the same command makes the rest\n"


def dying(folder: Path, *launcher: str, **variables: str) -> None:
    """A killed worker and a SIGTERM to the sweep each end it in one line, and no process stays."""
    own_model(folder, DIES)
    line = (*SWEEP, OWN, *launcher)
    if launcher:
        code, said = forked(*line, cwd=folder, **variables)
        told = "expected workers that end by themselves, found one killed, often for lack of memory: "
        assert f"\nscmobench: {told}" in said, said
        assert said.count(REST) == code == 1
        assert "Traceback" not in said
    (folder / "stays").touch()
    with begin(*line, cwd=folder, **variables) as sweep:
        while not (folder / "began").is_file():
            assert sweep.returncode is None, sweep.stdout.read()
            time.sleep(0.05)
        sent = time.monotonic()
        sweep.send_signal(signal.SIGTERM)
        said = sweep.stdout.read()  # as long as any process holds it
    assert time.monotonic() - sent < 30
    assert said.endswith(f"\nscmobench: ended by SIGTERM{REST}"), said
    assert sweep.returncode == 128 + signal.SIGTERM
    assert "Traceback" not in said
    assert not list(folder.rglob("record.json"))


@pytest.mark.parametrize("launcher", [(), ("launcher=joblib", "hydra.launcher.n_jobs=2")])
def test_a_killed_worker_and_a_time_limit_end_the_sweep_in_a_line(
    launcher: tuple[str, ...], tmp_path: Path
) -> None:
    dying(tmp_path, *launcher)


@NEEDS_SUBMITIT
def test_submitit_gives_what_one_process_gives(serial: list[dict], tmp_path: Path) -> None:
    """Its local executor: a run is a job in a process of its own, as on Slurm, without the queue."""
    done = here(*SWEEP, OWN, "hydra/launcher=submitit_local", cwd=place(tmp_path), OMP_NUM_THREADS="1")
    assert outcome(tmp_path) == own(serial), done.stderr
    said = "".join(path.read_text() for path in (tmp_path / "runs" / ".submitit").rglob("*.out"))
    assert said.count("[1/1] ") == 1, said


def composed(*overrides: str) -> DictConfig:
    """The configuration of a sweep, Hydra's own part with it."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf_dir()), version_base="1.3"):
        return hydra_compose("config", overrides=list(overrides), return_hydra_config=True)


@pytest.mark.parametrize("launcher", sorted(PACKAGES))
def test_launchers_and_sweeps_compose_in_any_order(launcher: str) -> None:
    if not INSTALLED[launcher]:
        pytest.skip("needs the extra: pip install -e '.[cluster]'")
    for sweep, sweeper in (("tune_predict_modality", "optuna"), ("predict_modality", "basic_sweeper")):
        given = (f"sweep={sweep}", f"launcher={launcher}")
        for order in (given, given[::-1]):
            hydra = composed(*order).hydra
            assert PACKAGES[launcher] in hydra.launcher._target_, order
            assert sweeper in hydra.sweeper._target_, order
            assert set(hydra.callbacks) == {"progress", "launcher"}
            assert hydra.mode.name == "MULTIRUN"
    assert set(names("launcher")) == {"basic", *PACKAGES}
    assert "basic_launcher" in composed("sweep=predict_modality").hydra.launcher._target_


@NEEDS_SUBMITIT
def test_slurm_is_asked_for_as_many_cores_as_a_run_has_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ("launcher=slurm", "hydra.launcher.partition=gpu", "hydra.launcher.gpus_per_node=1")
    asked = composed(*given).hydra.launcher
    assert asked._target_.endswith("SlurmLauncher")
    assert (asked.partition, asked.gpus_per_node, asked.cpus_per_task) == ("gpu", 1, 1)
    monkeypatch.setenv("SCMOBENCH_THREADS", "4")
    assert asked.cpus_per_task == 4


def test_a_sweep_of_the_users_own_names_its_launcher(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "sweep" / "big.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /launcher: joblib\n"
        "hydra: {mode: MULTIRUN, launcher: {n_jobs: 3}, sweeper: {params: {seed: '0,1'}}}\n"
    )
    hydra = composed(f"hydra.searchpath=['file://{tmp_path}']", "sweep=big").hydra
    assert hydra.launcher.n_jobs == 3, "the sweep's settings win over the launcher's"
    assert "joblib" in hydra.launcher._target_


def test_a_launcher_is_no_part_of_a_run() -> None:
    """Neither of the configuration, which gives the hash, nor of the method's name."""
    given = ["launcher=joblib", "hydra.launcher.n_jobs=2"]
    for own in (["model=knn", "dataset=tiny_cite"], ["sweep=predict_modality"], ["ensemble=seeds"]):
        plain, launched = compose(own), compose([*own, *given])
        assert launched == plain
        assert OmegaConf.to_yaml(launched) == OmegaConf.to_yaml(plain)
        assert method_name(launched, [*own, *given]) == method_name(plain, own)
    found = [[(one.cfg, one.name) for one in members(Plan.composed(line))] for line in (own, [*own, *given])]
    assert found[0] == found[1]


def test_a_launcher_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(package: str) -> str:
        raise PackageNotFoundError(package)

    monkeypatch.setattr("scmobench.experiment.launcher.version", absent)
    monkeypatch.setattr(sys, "version_info", (3, 13, 0))
    for name, package, extra in (
        ("joblib", "hydra-joblib-launcher", "sweep"),
        ("ray", "hydra-ray-launcher", "cluster"),
        ("slurm", "hydra-submitit-launcher", "cluster"),
    ):
        said = rf"^scmobench: expected {package} for launcher={name}, found it not installed: "
        with pytest.raises(SystemExit, match=rf"{said}pip install 'scmobench\[{extra}\]'"):
            main(["run", "dataset=nosuch", f"launcher={name}"])
    monkeypatch.setattr(sys, "version_info", (3, 14, 0))
    with pytest.raises(
        SystemExit, match=r"-ray-launcher .*: take another launcher, or Python 3\.13 or older"
    ):
        main(["run", "dataset=nosuch", "launcher=ray"])


def test_what_cannot_be_launched_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    single = here("run", "dataset=tiny_cite", "model=mean", "launcher=joblib", cwd=tmp_path)
    assert (single.returncode, single.stderr.splitlines()) == (
        1,
        ["scmobench: expected a sweep for `launcher=`, found a single run: add -m"],
    )
    unknown = here("run", "-m", "dataset=tiny_cite", "launcher=no", cwd=tmp_path)
    assert "no launcher 'no'; there are basic, joblib, ray, slurm" in unknown.stderr
    assert not list(tmp_path.rglob("record.json"))
    monkeypatch.setattr("os.environ", {"PATH": str(tmp_path)})
    with pytest.raises(SystemExit, match="expected the program sbatch for this launcher, found none"):
        Workers(program="sbatch").on_multirun_start(OmegaConf.create())
    with pytest.raises(
        FileNotFoundError, match=r"expected the folder of the sweep, .*/none, on every machine"
    ):
        enter(str(tmp_path / "none"))


def test_two_sweeps_share_no_ledger_and_the_clock_begins_with_the_first_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in containers, where two processes have the same number, beside what a killed sweep left."""
    config = composed(f"runs={tmp_path}", "hydra.job.num=0")
    (tmp_path / ".sweep-1").write_text("{}\n")
    os.utime(tmp_path / ".sweep-1", (0, 0))
    clock = time.time()
    monkeypatch.setattr("scmobench.experiment.sweep_progress.time.time", lambda: clock)
    monkeypatch.setattr("os.environ", {TOTAL: "300"})
    first, second = Progress(), Progress()
    second.on_multirun_start(config)
    first.on_multirun_start(config)
    assert len(list(tmp_path.glob(".sweep-*"))) == 2
    assert capsys.readouterr().out == "300 runs; all settings are checked first\n" * 2
    clock += 100
    first.on_job_start(config)
    clock += 2
    first.on_job_end(config, JobReturn(status=JobStatus.FAILED, _return_value="why"))
    assert "seed 0: why  (10 min left)\n" in capsys.readouterr().out
    with Path(os.environ[LEDGER]).open("a") as ledger:
        ledger.write('0, "state": "ran"}\n{"state": ')
    end_of_sweep(clock - 102)
    assert capsys.readouterr().out == "\n1 failed in 2 min\n"
    assert len(list(tmp_path.glob(".sweep-*"))) == 1


@pytest.mark.parametrize(
    ("given", "each", "openmp"),
    [({}, "1", "1"), ({"OMP_NUM_THREADS": ""}, "1", "1"), ({"OMP_NUM_THREADS": "4,2"}, "4", "4,2")],
)
def test_a_worker_has_one_thread_or_what_the_user_says(
    given: dict[str, str], each: str, openmp: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {"MKL_NUM_THREADS": "3", "RAY_DEDUP_LOGS": "1", **given}
    monkeypatch.setattr("os.environ", found)
    Workers(environment={"RAY_USAGE_STATS_ENABLED": 0, "RAY_DEDUP_LOGS": 0}).on_multirun_start(
        OmegaConf.create()
    )
    assert (found["OMP_NUM_THREADS"], found["OPENBLAS_NUM_THREADS"], found["MKL_NUM_THREADS"]) == (
        openmp,
        each,
        "3",
    )
    assert (found["RAY_USAGE_STATS_ENABLED"], found["RAY_DEDUP_LOGS"]) == ("0", "1")
    assert found["SCMOBENCH_THREADS"] == each


def test_runs_side_by_side_draw_no_bars_over_each_other(tmp_path: Path) -> None:
    sweep = ("run", "-m", "model=scmognn", "dataset=tiny_cite", "smoke=true")
    assert "[1/1] scmognn" in on_a_terminal(*sweep, cwd=tmp_path)
    shown = on_a_terminal(*sweep, "launcher=joblib", "hydra.launcher.n_jobs=1", "seed=1", cwd=tmp_path)
    assert "1 ran in" in shown
    assert "[1/1] scmognn" not in shown
