"""How tables write numbers."""

import pytest

from scmobench.leaderboard.plain_words import gloss
from scmobench.leaderboard.tables import score


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ((0.38412, 0.0031, 5), "0.384 ± 0.003 (5)"),
        ((0.38412, 0.0012, 5), "0.3841 ± 0.0012 (5)"),  # two digits where the sd begins with 1
        ((0.38412, 0.00096, 5), "0.3841 ± 0.0010 (5)"),
        ((0.38412, 0.096), "0.38 ± 0.10"),
        ((912.3, 37.2, 2), "912 ± 37 (2)"),
        ((0.38412, 0.0, 5), "0.3841 ± 0 (5)"),
        ((0.38412, 1e-9, 5), "0.3841 ± 0 (5)"),
        ((0.0655123, float("nan"), 1), "0.06551 (1)"),
        ((0.0655123,), "0.06551"),
        ((6.6e-5,), "0.00006600"),
        ((900.0,), "900.0"),
        ((0.0,), "0.000"),
        ((-0.01234,), "-0.01234"),
    ],
)
def test_a_score_has_as_many_decimals_as_its_spread_supports(given, text):
    assert score(*given) == text


def test_words_are_those_of_the_method_of_that_whole_name():
    assert gloss("scmognn+ensemble_seeds") == gloss("knn+ensemble_seeds #ab12cd") == "Mean of four"
    assert gloss("knn") == "Mean of the 20 nearest training cells"
    assert [gloss(name) for name in ("my_ensemble_seeds", "knn+hidden_16", "ensemble_", "../knn", "")] == [
        ""
    ] * 5
