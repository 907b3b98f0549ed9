"""The examples do what they say."""

import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def test_an_own_layer_learns(capsys: pytest.CaptureFixture[str]) -> None:
    accuracy = runpy.run_path(str(EXAMPLES / "own_layer.py"))["main"]()
    assert accuracy >= 0.95
    assert "maxout: test accuracy 0.9" in capsys.readouterr().out


def test_digits_are_learnt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    accuracy = runpy.run_path(str(EXAMPLES / "digits.py"))["main"]()
    assert accuracy >= 0.97
    printed = capsys.readouterr().out
    assert printed.count("test accuracy") == 5
    for words in ("epoch 40/40", "mean of 5", "worst pair", "dropout, 16 384", "ratio"):
        assert words in printed
    assert (tmp_path / "out" / "digits.png").stat().st_size > 10_000
