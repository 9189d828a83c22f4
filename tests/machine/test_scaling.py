"""The page of scaling is that of the committed rows, and extrapolated numbers are marked."""

from __future__ import annotations

import pytest

from places import ROOT


@pytest.fixture
def scaling(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import scaling

    return scaling


def test_the_page_and_its_pictures_are_current(scaling):
    for name, text in scaling.files().items():
        assert (ROOT / "results" / name).read_text() == text, "python benchmarks/scaling.py"


def test_what_was_not_measured_is_marked_or_left_out(scaling):
    twice = [(1000, 2.0), (10_000, 20.0)]
    assert [scaling.cell(twice, n) for n in (1000, 5000, 1_000_000)] == ["2", "—", "*2,000*"]
    assert scaling.cell([(1000, 2.0)], 1_000_000) == "—"
    libraries = [(1000, 0.2), (101_000, 2.2)]  # of which a part is the same for any number of cells
    assert scaling.extrapolated(libraries, 1_001_000) == pytest.approx(20.2)
    drawn = scaling.picture({"s": {"load": twice, "graph": [(1000, 1.0)]}}, "dark")
    assert drawn.count("stroke-dasharray") == 1
    assert drawn.count("<circle") == 3
