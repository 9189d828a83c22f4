"""Overrides: paths and names reach their setting as they were typed."""

import re
from pathlib import Path
from typing import Literal, get_origin, get_type_hints

import numpy as np
import pandas as pd
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import scmobench as sb
from command_line import here
from scmobench.data.competition import Competition
from scmobench.data.folder import Folder
from scmobench.data.mini_cite import MiniCite
from scmobench.data.own import Own
from scmobench.data.split import assign_split
from scmobench.data.synthetic import Synthetic
from scmobench.experiment.arguments import DATASET, as_text
from scmobench.experiment.config import build, compose, names

ODD = 'My [Data] {v2} (a=b), it\'s "x" ~é#&;<!'


TYPED = [ODD, "1_2", "2024", "1e3", "true", "nan", "[a]", "{a: b}", "f(x)", "a\\(b", "'a'b", "a~b"]
TYPED += ["ends\\ ("]


@pytest.mark.parametrize("text", TYPED)
@pytest.mark.parametrize("key", ["runs", "dataset.gex", "+dataset.labels", "model.predict_modality.pathway"])
def test_a_path_is_the_text_that_was_typed(key, text, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path(text).touch()  # else a comma may part a sweep's values, and a backslash may be Hydra's
    parsed = OverridesParser.create().parse_override(as_text([f"{key}={text}"])[0])
    assert (parsed.value(), parsed.is_sweep_override()) == (text, False)


def test_other_values_stay_what_they_are() -> None:
    kept = ["seed=1_2", "dataset.batch=null", "dataset.gex=a/b c.h5ad", "runs='a b'", "-m", "runs="]
    kept += ["model.x.pathway=hallmark,learned", "dataset.path=${oc.env:HOME}/x", "dataset.name=choice(a,b)"]
    kept += ["~dataset.gex", "dataset.test_batches=[1_2]", "dataset.gex=not\\ there"]
    assert as_text(kept) == kept
    assert as_text(["runs=~/x", "dataset.gex=~nobody(1)"]) == [
        f"runs='{Path.home()}/x'",
        "dataset.gex='~nobody(1)'",
    ]


def test_all_text_settings_of_datasets_are_known() -> None:
    """What a source reads as text has no numbers in it."""
    text = {
        name
        for source in (Own, Folder, Competition, Synthetic, MiniCite)
        for name, kind in get_type_hints(source).items()
        if kind in (str, str | None) or get_origin(kind) is Literal
    }
    assert text == set(DATASET.split())
    assert {type(build(compose([f"dataset={name}"]).dataset)) for name in names("dataset")} <= {
        Own, Folder, Competition, Synthetic, MiniCite
    }  # fmt: skip


def test_a_column_named_by_a_number_is_its_name() -> None:
    assert build(compose(["dataset=own", "dataset.batch=0", "dataset.cell_type=1_0"]).dataset).batch == "0"


def test_a_run_in_odd_folders(tmp_path) -> None:
    home = tmp_path / ODD.replace(",", "")
    (home / "cfg" / "model").mkdir(parents=True)
    (home / "cfg" / "model" / "own.yaml").write_text(
        "name: own\nkind: control\npredict_modality: {_target_: scmobench.models.controls.MeanPrediction}\n"
    )
    given = ["dataset=tiny_cite", "model=own", "--config-dir=~/cfg", "runs=~/runs (1)"]
    done = here("run", *given, cwd=tmp_path, HOME=str(home))
    assert done.returncode == 0, done.stderr
    assert list((home / "runs (1)").rglob("record.json"))


def test_a_tilde_that_names_no_user_is_a_name(tmp_path, tiny_paired) -> None:
    for key, modality in (("gex", tiny_paired.mod1), ("mod2", tiny_paired.mod2)):
        modality.copy().write_h5ad(tmp_path / f"~{key}.h5ad")
    files = [f"dataset.{key}=~{key}.h5ad" for key in ("gex", "mod2")]
    assert here("data", "check", "own", *files, cwd=tmp_path).returncode == 0
    with pytest.raises(FileNotFoundError, match="found none"):
        sb.load("~nobody/x.h5mu")


def test_a_batch_named_by_a_number_is_found_as_the_message_says() -> None:
    obs = pd.DataFrame({"batch": np.repeat(["1_1", "1_2"], 60)})
    given = compose(["dataset=own", "dataset.test_batches=[1_2]"]).dataset.test_batches
    with pytest.raises(ValueError, match=r"\['12'\] not found; the batches are \['1_1', '1_2'\]") as error:
        assign_split(obs, list(given))
    quoted = re.search(r'quote it: "(\S+)"', str(error.value))[1]
    given = compose(["dataset=own", quoted]).dataset.test_batches
    assert (~assign_split(obs, list(given))).sum() == 60
