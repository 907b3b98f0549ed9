"""The course's questions have the course's answers, on fixed seeds; the command line
says what is wrong in a sentence."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest

import lamina as lm
from lamina.__main__ import main
from lamina.experiments import columns
from lamina.experiments.presets import PRESETS

matplotlib.use("agg")


def means(name: str) -> tuple[Any, str]:
    """What a metric is in a setting, and the sentence."""
    table = PRESETS[name].run(seeds=1, verbose=0, diagnose=False)
    assert not any("error" in row for row in table.rows)

    def mean(metric: str, *values: Any) -> float:
        place = [tuple(labels.values()) for labels in table.labels].index(values)
        return float(table.values(metric, place).mean())

    return mean, PRESETS[name].answer(table)


def test_gradients_vanish_in_deep_sigmoid_nets() -> None:
    mean, sentence = means("vanishing")
    assert mean("accuracy", "sigmoid", 5) < 0.2 < 0.9 < mean("accuracy", "tanh", 20)
    assert mean("accuracy", "relu", 20) > 0.9
    assert mean("signal", "sigmoid", 10) < 1e-4 < 0.1 < mean("signal", "tanh", 10)
    assert "sigmoid 2, tanh 30" in sentence


def test_large_weights_explode_and_small_ones_vanish() -> None:
    mean, sentence = means("exploding")
    read = [mean("accuracy", "relu", scale) for scale in (0.02, 0.18, 0.5)]
    assert read[1] > 0.9 and max(read[0], read[2]) < 0.2
    assert mean("growth", "relu", 0.5) > 1e3 > 1e-3 > mean("growth", "relu", 0.05)
    assert mean("growth", "tanh", 1.0) < 2 and mean("signal", "tanh", 1.0) > 100
    assert re.search(r"read 10%, 9\d% and 0% of the digits", sentence)


def test_relus_die_of_a_high_rate_and_leaky_ones_do_not() -> None:
    mean, sentence = means("dying-relu")
    assert mean("dead", "relu", 0.1) < 0.3 and mean("dead", "relu", 1.0) > 0.9
    assert mean("accuracy", "relu", 1.0) < 0.2 < 0.9 < mean("accuracy", "relu", 0.3)
    assert mean("dead", "leaky_relu", 1.0) == mean("dead", "elu", 1.0) == 0
    assert "with leaky relu 0% of a layer's units are dead" in sentence


def test_dropout_closes_the_gap_and_some_of_it_helps() -> None:
    mean, sentence = means("dropout")
    gaps = [
        mean("loss", rate) - mean("train_loss", rate)
        for rate in (0.0, 0.2, 0.4, 0.6, 0.9)
    ]
    assert gaps == sorted(gaps, reverse=True)
    losses = {rate: mean("loss", rate) for rate in (0.0, 0.3, 0.9)}
    assert losses[0.3] < losses[0.0] < losses[0.9]
    assert 0.9 < losses[0.9] < 1.1  # nothing is learnt
    assert "with 0.2 dropped, the best" in sentence or "with 0.3" in sentence


def test_weights_must_suit_their_activation() -> None:
    mean, sentence = means("init")
    assert mean("accuracy", "relu", "he", 20) > 0.9
    assert mean("accuracy", "relu", "glorot", 20) < 0.8
    assert mean("growth", "relu", "glorot", 20) < 0.01 < 0.5
    assert 0.5 < mean("growth", "relu", "he", 20) < 5
    assert max(mean("accuracy", "sigmoid", w, 10) for w in ("he", "glorot")) < 0.2
    assert "of the digits are read by three relu layers" in sentence


def test_inputs_must_be_standardised() -> None:
    mean, sentence = means("centring")
    for activation in ("relu", "tanh", "sigmoid"):
        assert mean("accuracy", activation, "as they are") < 0.7
        assert mean("accuracy", activation, "standardised") > 0.95
    assert "relu 63% and 9" in sentence


def test_softmax_is_no_hidden_activation() -> None:
    mean, sentence = means("softmax-hidden")
    read = [mean("accuracy", "softmax", depth) for depth in (1, 3)]
    assert 0.8 > read[0] > read[1]
    assert min(mean("accuracy", "relu", depth) for depth in (1, 2, 3)) > 0.9
    contrasts = [mean("contrast", "softmax", depth) for depth in (1, 2, 3)]
    assert contrasts == sorted(contrasts, reverse=True) and contrasts[2] < 1e-4
    assert "from row to row" in sentence


def test_the_page_of_questions_is_whole_and_its_code_runs(tmp_path: Path) -> None:
    docs = Path(__file__).resolve().parent.parent / "docs"
    page = (docs / "experiments.md").read_text()
    order = [page.index(f"    python -m lamina compare {name}\n") for name in PRESETS]
    assert order == sorted(order)
    for name, preset in PRESETS.items():
        assert f"## {preset.question}\n" in page
        assert f"![{name}](experiments/{name}.png)" in page
    for picture in (docs / "experiments").iterdir():
        assert f"(experiments/{picture.name})" in page
        assert picture.stat().st_size < 100_000
    pytest.importorskip("optuna")
    code = "\n".join(re.findall(r"```python\n(.*?)```", page, re.S))
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env=os.environ | {"MPLBACKEND": "agg"},
    )
    assert done.returncode == 0, done.stderr
    assert "45 trainings: 5 splits x 3 seeds" in done.stdout


# The command line ---------------------------------------------------------------------


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of two features, of which the product tells the class."""
    monkeypatch.chdir(tmp_path)
    x = np.random.default_rng(0).normal(size=(120, 2))
    path = tmp_path / "data.csv"
    rows = [f"{a:.4f},{b:.4f},{'yes' if a * b > 0 else 'no'}" for a, b in x]
    path.write_text("\n".join(["a,b,kind", *rows]) + "\n")
    return path


def test_a_question_is_answered_with_a_table_a_sentence_and_a_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["compare", "softmax-hidden", "--seeds", "1"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("Is softmax a hidden activation?\nactivation  depth")
    assert "With relu and with softmax as hidden activation" in printed
    assert printed.endswith("drawn in softmax-hidden.png\n")
    assert (tmp_path / "softmax-hidden.png").read_bytes()[:4] == b"\x89PNG"


def test_settings_on_a_file_of_ones_own(
    table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        *("compare", "data.csv", "--target", "kind", "--vary", "activation=relu,tanh"),
        *("--vary", "optimizer.learning_rate=0.01", "--vary", "epochs=3"),
        *("--seeds", "2", "--folds", "3", "--save", "out.jsonl"),
        *("--picture", "own.svg"),
    ]
    assert main(words) == 0
    first = capsys.readouterr().out
    assert "120 rows, 2 features; target: 2 classes (no, yes)" in first
    assert "12 trainings: 3 splits x 2 seeds" in first
    lines = (table.parent / "out.jsonl").read_text().splitlines()
    assert len(lines) == 13
    setting = {"activation": "relu", "optimizer.learning_rate": 0.01, "epochs": 3}
    assert setting in [json.loads(line)["setting"] for line in lines[1:]]
    assert (table.parent / "own.svg").exists()
    assert main(words) == 0  # nothing is trained again
    assert capsys.readouterr().out == first
    assert len((table.parent / "out.jsonl").read_text().splitlines()) == 13


def test_a_net_is_diagnosed_on_a_file(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    net = columns.builder(columns.read(table, "kind"))(seed=0)
    data = columns.read(table, "kind")
    net.fit(data.x, data.y, verbose=0)
    net.save("net.safetensors")
    seen = []

    class Report:
        def __str__(self) -> str:
            return "nothing found"

        def to_json(self) -> str:
            return "{}"

    def diagnose(net: Any, x: Any, y: Any) -> Report:
        seen.append((net.epoch, x.shape, set(y)))
        return Report()

    monkeypatch.setattr(lm.Sequential, "diagnose", diagnose, raising=False)
    assert main(["diagnose", "net.safetensors", "data.csv", "--target", "kind"]) == 0
    assert capsys.readouterr().out == "nothing found\n"
    words = ["diagnose", "net.safetensors", "data.csv", "--target", "kind", "--json"]
    assert main(words) == 0
    assert capsys.readouterr().out == "{}\n"
    assert seen == [(1, (120, 2), {0, 1})] * 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("compare vanish", "compare takes a CSV file or one of vanishing, .*'vanish'"),
        ("compare none.csv --target y", "No such file.*none.csv"),
        ("compare data.csv", "target must name a column of data.csv"),
        (
            "compare data.csv --target y",
            r"a column of data.csv \(a, b, kind\), got 'y'",
        ),
        ("compare data.csv --target kind --vary activatoin=relu", "got 'activatoin'"),
        ("compare data.csv --target kind --vary activation", "vary must be NAME=A,B"),
        (
            "compare data.csv --target kind --folds 500",
            "2 to the 120 rows, got 500",
        ),
        ("compare data.csv --target kind --folds 1", "from 2 to the 120 rows, got 1"),
        ("compare data.csv --target kind --seeds 0", "seeds must be"),
        ("compare data.csv --target kind --save no/out.jsonl", "No such file.*no/out"),
        ("compare data.csv --target kind --save data.csv", "holds no experiment"),
        ("compare data.csv --target kind --picture no/a.png", "picture must be in a"),
        ("compare data.csv --target kind --picture a.bmp3", "picture must end in"),
        ("compare vanishing --target kind", "vary and target must come with a CSV"),
        ("diagnose none.safetensors data.csv --target kind", "none.safetensors"),
        ("compare text.csv --target y", "got 'blue' in column 'a', line 3"),
        ("compare gap.csv --target y", "must have no gaps, got a gap in column 'a'"),
        ("compare nan.csv --target y", "must have no gaps, got 'nan' in column 'a'"),
        ("compare hole.csv --target y", "no gaps, got one in column 'y', line 2"),
        ("compare one.csv --target y", "y must have two different values, got only 0"),
        ("compare short.csv --target y", "2 values in each line, got 1 in line 3"),
        ("compare empty.csv --target y", r"a column of empty.csv \(none\)"),
        ("compare head.csv --target y", "must have a row and a column"),
        ("compare twice.csv --target y", "different columns, got 'a' twice"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(
    words: str, message: str, table: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, text in {
        "text": "a,y\n1,0\nblue,1\n",
        "gap": "a,y\n1,0\n,1\n",
        "nan": "a,y\nnan,0\n2,1\n",
        "hole": "a,y\n1,\n2,1\n",
        "one": "a,y\n1,0\n2,0\n3,0\n4,0\n5,0\n",
        "short": "a,y\n1,0\n2\n",
        "empty": "",
        "head": "a,y\n",
        "twice": "a,a,y\n1,2,0\n2,3,1\n",
    }.items():
        table.with_name(f"{name}.csv").write_text(text)
    before = table.read_bytes()
    assert main(words.split()) == 2
    printed = capsys.readouterr()
    assert len(printed.err.splitlines()) == 1
    assert re.search(f"^lamina: .*{message}", printed.err)
    assert table.read_bytes() == before


def test_a_command_that_fails_has_code_two_and_no_traceback(table: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "lamina", "compare", "data.csv", "--target", "c"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("lamina: target must be a column of data.csv")
    assert done.stderr.count("\n") == 1


def test_targets_are_classes_or_quantities(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"

    def read(*values: Any) -> columns.Data:
        lines = [f"{i},{value}" for i, value in enumerate(values)]
        path.write_text("\n".join(["a,y", *lines]))
        return columns.read(path, "y")

    data = read("red", "blue", "red", "green")
    assert data.classes == ["blue", "green", "red"]
    assert data.y.tolist() == [2, 0, 2, 1]
    assert data.features == ["a"]
    assert read(3, 1, 3).classes == ["1", "3"]
    for values in ([0.5, 1.5], range(21)):
        quantity = read(*values)
        assert quantity.classes is None
        assert quantity.y.tolist() == list(values)
        assert columns.builder(quantity)(depth=1).layers[-1].outputs(9) == 1
    assert columns.builder(data)(depth=1).layers[-1].outputs(9) == 3
