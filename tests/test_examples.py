"""The examples do what they say: short forms, with room below what they reach."""

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ranks import together

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def main(name: str) -> Callable[..., Any]:
    function: Callable[..., Any] = runpy.run_path(str(EXAMPLES / f"{name}.py"))["main"]
    return function


def test_digits_are_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main("digits")(epochs=10) >= 0.97  # 0.98 in full
    printed = capsys.readouterr().out
    assert printed.count("test accuracy") == 5
    for words in ("epoch 10/10", "epoch 20/20", "mean of 5", "most often confused"):
        assert words in printed
    assert (tmp_path / "out" / "digits.png").stat().st_size > 10_000


def test_breast_cancer_is_told() -> None:
    assert main("breast_cancer")(repeats=1) >= 0.97


def test_diabetes_is_foretold_as_by_ridge_regression() -> None:
    net, ridge = main("diabetes")(repeats=1)
    assert 0.4 < ridge < 0.6
    assert net > ridge - 0.02


def test_a_table_is_told_as_well_as_by_trees() -> None:
    own, trees = main("table")(preset="fast")
    assert own > trees - 0.01 > 0.97


def test_characters_of_unseen_fonts_are_read() -> None:
    accuracies = main("characters")(copies=5)
    assert set(accuracies) == {"STIX", "Computer Modern"}
    assert min(accuracies.values()) >= 0.8  # 0.9 in full; by chance 1 / 36


def test_twenty_layers_learn_where_gradients_do_not_vanish() -> None:
    (he, learnt), (normal, not_learnt) = main("depth")(epochs=20).values()
    # From the last hidden layer to the first.
    assert he[0] > 0.1 * he[-2]
    assert normal[0] < 0.01 * normal[-2]
    assert learnt > 0.7
    assert not_learnt < 0.2  # chance: 0.1


def test_an_own_layer_learns(capsys: pytest.CaptureFixture[str]) -> None:
    assert main("own_layer")() >= 0.95
    assert "maxout: test accuracy 0.9" in capsys.readouterr().out


def test_a_search_over_dropout_and_width(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main("sklearn_search")(epochs=20, folds=2) >= 0.95  # 0.98 in full
    assert (tmp_path / "out" / "sklearn_search.png").stat().st_size > 10_000


def test_common_seeds_scatter_less(capsys: pytest.CaptureFixture[str]) -> None:
    by_seed, by_both = main("common_seeds")(seeds=6)
    assert by_seed > 5  # 12 in full
    assert by_both > 20  # 65
    assert "same fold, another seed" in capsys.readouterr().out


def test_ranks_learn_the_same_digits_and_go_on_from_a_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    learn = main("mpi_digits")
    first, again = tmp_path / "first", tmp_path / "again"
    ((accuracy, digest),) = together(1, lambda ranks: learn(ranks, first))
    assert accuracy >= 0.9
    learn.__globals__["EPOCHS"] = 15
    together(2, lambda ranks: learn(ranks, again))
    learn.__globals__["EPOCHS"] = 20
    assert together(3, lambda ranks: learn(ranks, again)) == [(accuracy, digest)] * 3
    assert f"3 ranks, test accuracy {accuracy:.4f}" in capsys.readouterr().out
