"""The digest of the code that a run passes through: what is done counts, not how it is said or where."""

import ast
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from places import ROOT
from scmobench.experiment import records
from scmobench.experiment.code import PACKAGE, SILENT, _file, _read, _spell, code_digest
from scmobench.experiment.config import compose
from scmobench.experiment.plan import Plan
from scmobench.experiment.run import run
from scmobench.machine.files import whole

SVD = [{"_target_": "scmobench.models.prediction.svd_linear.SVDLinear"}]
TASK = "predict_modality"


def spelt(source: str) -> list[str]:
    words: list[str] = []
    _spell(ast.parse(source), words, [])
    return words


@pytest.fixture
def copy(tmp_path: Path):
    """A copy of the package's sources with one file changed: its digest."""

    def digest(
        file: str = "",
        old: str = "",
        new: str = "",
        start: str = "scmobench.experiment.run",
        settings: list = SVD,
    ) -> str:
        place = tmp_path / str(len(list(tmp_path.iterdir())))
        shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__"))
        if file:
            text = (place / file).read_text()
            assert old in text
            (place / file).write_text(text.replace(old, new, 1))
        return code_digest(start, TASK, settings, place)

    return digest


def test_a_method_counts_whatever_its_file_is_called(copy, tmp_path: Path) -> None:
    own = [{"_target_": "scmobench.models.prediction.settings.Own"}]
    for folder, names in SILENT.items():
        assert all((PACKAGE / folder / f"{name}.py").is_file() for name in names.split())
    digests = set()
    for body in ("0", "1"):
        place = tmp_path / body
        shutil.copytree(PACKAGE, place, ignore=shutil.ignore_patterns("__pycache__"))
        (place / "models" / "prediction" / "settings.py").write_text(f"class Own:\n    answer = {body}\n")
        digests.add(code_digest("scmobench.experiment.run", TASK, own, place))
    assert len(digests) == 2


def test_a_copy_elsewhere_gives_the_same_digest(copy) -> None:
    assert copy() == code_digest("scmobench.experiment.run", TASK, SVD)


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("models/prediction/svd_linear.py", "class SVDLinear", "# a remark\n\n\nclass SVDLinear"),
        ("data/reduce.py", '"""', '"""Other words. ', ),
        ("experiment/plan.py", "import Source", "import Source, cache_dir"),
        ("tasks/base.py", 'raise ValueError(f"', 'raise ValueError(f"Sorry: '),
        ("cli/__init__.py", "def main(", "def other() -> int:\n    return 1\n\n\ndef main("),
        ("leaderboard/write.py", "DIFFERENCE_LINES = 40", "DIFFERENCE_LINES = 41"),
        ("experiment/sweep_progress.py", "> 90", "> 91"),
        ("experiment/records.py", "def now(", "def other() -> int:\n    return 1\n\n\ndef now("),
        ("models/prediction/knn.py", "def ", "def another(self): return 1\n    def "),
        ("data/competition.py", "dict[str, Path]", "Mapping[str, Path]"),
    ],
)  # fmt: skip
def test_other_words_and_what_a_run_does_not_pass_through_do_not_count(copy, file, old, new) -> None:
    assert copy(file, old, new) == copy()


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("data/reduce.py", " @ ", " + "),
        ("metrics/regression.py", "np.sqrt", "np.abs"),
        ("data/split.py", "seed", "seeds"),
        ("experiment/run.py", "seed)", "seed + 1)"),
        ("types.py", '"GEX2ADT", ', ""),
        ("experiment/evaluate.py", "0.975", "0.95"),
    ],
)
def test_what_a_run_passes_through_counts(copy, file, old, new) -> None:
    assert copy(file, old, new) != copy()


def test_what_refuses_a_run_does_not_count(copy) -> None:
    file, old, new = "machine/memory.py", "1e9", "2**30"
    network = [{"_target_": "scmobench.models.scmognn.predict_modality.ScMoGNNPrediction"}]
    assert copy(file, old, new, settings=network) == copy(settings=network) != copy()


def test_an_ensemble_passes_through_its_own_module(copy) -> None:
    change = ("experiment/weights.py", "1e-6", "1e-5")
    assert copy(*change) == copy()
    assert copy(*change, start="scmobench.experiment.ensemble") != copy(start="scmobench.experiment.ensemble")


def test_what_moves_to_another_file_stays_the_same(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    for folder in (one / "experiment", two / "experiment", two / "inner"):
        folder.mkdir(parents=True)
    (one / "experiment/run.py").write_text("def f(x):\n    return g(x) + 1\n\n\ndef g(x):\n    return -x\n")
    (two / "experiment/run.py").write_text(
        "from scmobench.inner.g import g\n\n\ndef f(x):\n    return g(x) + 1\n"
    )
    (two / "inner" / "g.py").write_text("def g(x):\n    return -x\n")
    assert code_digest("scmobench.experiment.run", TASK, (), one) == code_digest(
        "scmobench.experiment.run", TASK, (), two
    )


def test_layout_quotes_docstrings_and_what_errors_say_are_not_spelt() -> None:
    one = 'def f(x):\n    """Says."""\n    if x < 0:\n        raise ValueError(f"bad {x}")\n'
    one += '    return {"a": x, }\n'
    two = "import os\ndef f(x):  # here\n  if (x<0): raise ValueError('worse')\n  return {'a': x}\n"
    assert spelt(one) == spelt(two)
    assert spelt(one) != spelt(one.replace("ValueError", "TypeError"))
    assert spelt(one) != spelt(one.replace('"a"', '"b"'))
    assert spelt("if TYPE_CHECKING:\n    import a\n") == spelt("import b")


SYNTAX = """
@cache
class A(B, c=1):
    x: int = 1.5
    async def f(self, *a, k=None, **b) -> dict[str, A]:
        async with a as (c, d), e: return f'{a!r:>{3}} b' f"{k}" if a else b'c'
    def g(self):
        try: yield from [y async for y in z if y]
        except* ValueError as error: del self.x[1:, ...]
        match a:
            case {"k": [1, *_]} | A(x=2): lambda u, /, v=-1e-3j: (u := v)
            case _: global q; assert not u < v <= 1, "words"
"""


def test_every_version_of_python_spells_alike() -> None:
    """Python 3.11, 3.12 and 3.13 give these digits."""
    assert hashlib.sha256(" ".join(spelt(SYNTAX)).encode()).hexdigest()[:12] == "d22d3a00e9f6"


def test_all_imports_can_be_followed() -> None:
    for file in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            assert not (isinstance(node, ast.ImportFrom) and node.level), f"{file} imports relatively"
    assert (
        _file("scmobench.models.prediction.svd_linear.SVDLinear", PACKAGE)
        == PACKAGE / "models" / "prediction" / "svd_linear.py"
    )
    assert _file("numpy.linalg", PACKAGE) is None
    assert "scmobench.types.Problem" in _read(PACKAGE / "experiment/run.py")[1]


def edited(path: Path, old: str, new: str) -> None:
    with whole(path) as partial:
        text = path.read_text()
        assert old in text
        partial.write_text(text.replace(old, new))


def test_a_finished_run_of_other_code_or_of_another_version_is_repeated(tmp_path: Path) -> None:
    cfg = compose(["dataset=tiny_cite", "model=knn", f"runs={tmp_path}"])
    first = run(Plan(cfg, "knn"))
    path = records.folder(tmp_path, first) / records.RECORD
    assert run(Plan(cfg, "knn"))["skipped"]
    for old, new in (
        (f'"code": "{first["code"]}"', '"code": "0123456789ab"'),
        (f'"scmobench": "{first["versions"]["scmobench"]}"', '"scmobench": "0.0.9"'),
        ('"status": "ok"', '"status": "failed"'),
    ):
        edited(path, old, new)
        again = run(Plan(cfg, "knn"))
        assert "skipped" not in again, f"{new} is taken for this run's"
        assert again["prediction_hash"] == first["prediction_hash"]
        assert run(Plan(cfg, "knn"))["skipped"]
    assert [r["attempt"] for r in (first, run(Plan(cfg, "knn")))] == [1, 4]


def test_scores_of_another_seed_by_other_code_are_not_taken(tmp_path: Path) -> None:
    cfg = compose(["dataset=tiny_cite", "model=mean", f"runs={tmp_path}"])
    first = run(Plan(cfg, "mean"))
    path = records.folder(tmp_path, first) / records.RECORD
    edited(path, f'"value": {first["scores"]["rmse"]["value"]}', '"value": 99.0')
    other = Plan(compose(["dataset=tiny_cite", "model=mean", f"runs={tmp_path}", "seed=1"]), "mean")
    assert run(other)["scores"]["rmse"] == {"value": 99.0, "reason": ""}, "the same code: scored once"
    edited(path, f'"code": "{first["code"]}"', '"code": "0123456789ab"')
    shutil.rmtree(records.folder(tmp_path, first | {"seed": 1}))
    again = run(Plan(compose(["dataset=tiny_cite", "model=mean", f"runs={tmp_path}", "seed=1"]), "mean"))
    assert again["scores"]["rmse"] == first["scores"]["rmse"]


def test_training_of_other_code_does_not_go_on(tmp_path: Path) -> None:
    identity = {"method": "m", "code": "a", "seed": 0}
    training = records.training_folder(tmp_path, identity, fresh=False)
    (training / "resume.ckpt").write_text("state")
    assert (records.training_folder(tmp_path, identity, fresh=False) / "resume.ckpt").is_file()
    records.training_folder(tmp_path, identity | {"code": "b"}, fresh=False)
    assert [path.name for path in training.iterdir()] == ["identity.json"]
    (training / "resume.ckpt").write_text("state")
    records.training_folder(tmp_path, identity | {"code": "b"}, fresh=True)
    assert not (training / "resume.ckpt").exists()


def test_the_digest_is_quick_and_the_same_in_another_process() -> None:
    """Processor seconds where nothing is cached yet, and once more where all is."""
    code = "import time; from scmobench.experiment.code import code_digest\n"
    code += "for _ in range(2):\n    t = time.process_time()\n"
    code += f"    code_digest('scmobench.experiment.run', 'joint_embedding', [{{'_target_': '{SCMOGNN}'}}])\n"
    code += "    print(time.process_time() - t)\n"
    code += f"print(code_digest('scmobench.experiment.run', {TASK!r}, {SVD!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    first, second, other = done.stdout.split()
    assert float(first) < 1.0
    assert float(second) < 0.1
    assert other == code_digest("scmobench.experiment.run", TASK, SVD)


SCMOGNN = "scmobench.models.scmognn.joint_embedding.ScMoGNNEmbedding"
