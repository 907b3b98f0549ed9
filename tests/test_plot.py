"""`lamina.plot`: what is drawn is what was given, on the axes that were given."""

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pytest

import lamina as lm

matplotlib.use("agg")
pyplot: Any = __import__("matplotlib.pyplot").pyplot

random = np.random.default_rng(0)
X = random.normal(size=(200, 4)).astype(np.float32)
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    pyplot.close("all")


@pytest.fixture
def ax() -> Any:
    return pyplot.figure().add_subplot()


def classifier(*hidden: Any, seed: int = 0) -> lm.Sequential:
    return lm.Sequential([*hidden, lm.Dense(2, "softmax")], seed=seed)


def compared(**vary: Any) -> Any:
    def build(width: int = 4, activation: str = "tanh", seed: int = 0) -> Any:
        return classifier(lm.Dense(width, activation), seed=seed)

    return lm.compare(build, X, Y, vary=vary, fit={"epochs": 2}, folds=3, verbose=0)


def test_every_activation_is_in_the_atlas_with_its_largest_slope() -> None:
    axes = lm.plot.activation_atlas()
    panels = {ax.get_title(): ax for ax in axes.flat if ax.get_title()}
    assert list(panels) == lm._core.__all__
    for name, ax in panels.items():
        f, slope = (line.get_ydata() for line in ax.get_lines()[2:])
        if name != "hard_shrink":  # which jumps
            inside = ax.get_lines()[2].get_xdata()
            numeric = np.gradient(f, inside)
            smooth = np.abs(np.gradient(slope)) < 0.05
            np.testing.assert_allclose(slope[smooth], numeric[smooth], atol=0.03)
    assert panels["sigmoid"].texts[0].get_text() == "max f' 0.25"
    assert panels["softplus"].texts[0].get_text() == "max f' 1"


def test_the_signal_is_the_gradient_by_the_outputs_of_each_layer(ax: Any) -> None:
    """Against finite differences, through a constant that is added to the outputs."""
    net = lm.Sequential(
        [lm.Dense(5, "tanh"), lm.Dense(3, "sigmoid"), lm.Dense(2, "softmax")],
        seed=1,
        dtype="float64",
    )
    net.build(4)
    before = net.parameters.copy(), net.gradient.copy()
    lm.plot.signal(net, X, Y, ax=ax)
    drawn = ax.get_lines()[0].get_ydata()
    assert (net.parameters == before[0]).all() and (net.gradient == before[1]).all()

    outputs = [np.asarray(X, float)]
    for layer in net.layers[:-1]:
        outputs.append(layer.forward(outputs[-1]))
    for place, h in enumerate(outputs[1:]):
        gradient = np.zeros_like(h[:6])
        for row, unit in np.ndindex(gradient.shape):
            losses = []
            for step in (1e-4, -1e-4):
                moved = h.copy()
                moved[row, unit] += step
                for layer in net.layers[place + 1 :]:
                    moved = layer.forward(moved)
                losses.append(-np.log(moved[np.arange(200), Y]).mean())
            gradient[row, unit] = (losses[0] - losses[1]) / 2e-4
        # By eye's measure: six rows stand for all.
        assert 0.5 < np.sqrt(np.square(gradient).mean()) / drawn[place] < 2
    assert len(drawn) == 3


def test_a_net_that_is_not_built_is_drawn_and_stays_unbuilt(ax: Any) -> None:
    nets = {
        name: classifier(*(lm.Dense(8, name) for _ in range(9)))
        for name in ("sigmoid", "tanh")
    }
    lm.plot.signal(nets, X, Y, ax=ax)
    sigmoid, tanh = (line.get_ydata() for line in ax.get_lines())
    assert sigmoid[0] / sigmoid[-2] < 1e-3 < 0.1 < tanh[0] / tanh[-2]
    assert not nets["tanh"].features
    assert [text.get_text() for text in ax.get_legend().texts] == ["sigmoid", "tanh"]


def test_curves_mark_the_best_epoch(ax: Any) -> None:
    history = lm.History()
    for epoch, value in enumerate([3.0, 1.0, 2.0], 1):
        history.add(epoch, {"loss": value / 2, "val_loss": value})
    lm.plot.curves(history, constant=1.5, ax=ax)
    assert "best: 1, epoch 2" in [text.get_text() for text in ax.texts]
    labels = [text.get_text() for text in ax.get_legend().texts]
    assert labels == ["training", "validation", "best constant"]
    lm.plot.curves({"a": history, "b": history})
    accuracies = lm.History()
    for epoch, value in enumerate([0.5, 0.9, 0.8], 1):
        accuracies.add(epoch, {"accuracy": value, "val_accuracy": value})
    ax = lm.plot.curves(accuracies, metric="accuracy")
    assert "best: 0.9, epoch 2" in [text.get_text() for text in ax.texts]


def test_units_that_are_dead_or_saturated_are_counted(ax: Any) -> None:
    net = classifier(lm.Dense(4, "relu"), lm.Dense(4, "tanh"))
    net.build(4)
    kernel, bias = net.layers[0].parameters.values()
    kernel[...] = np.eye(4)
    bias[...] = [0, -1e3, -1e3, 0]  # two of four are dead
    kernel, bias = net.layers[1].parameters.values()
    kernel[...] = 0
    kernel[0] = [0.01, 0.01, 0.01, 1e9]
    lm.plot.units(net, X, ax=ax)
    dead, saturated = (
        [bar.get_width() for bar in container] for container in ax.containers
    )
    assert dead == [50, 0]
    assert saturated[0] == 0
    share = 25 * (X[:, 0] > 0).mean()  # where the relu before it is 0, tanh is not flat
    assert saturated[1] == pytest.approx(share)
    assert [t.get_text() for t in ax.get_yticklabels()] == ["1: relu", "2: tanh"]


def test_rates_show_what_was_not_finite_and_what_was_given(ax: Any) -> None:
    lm.plot.rates({1.0: np.inf, 0.1: 0.5, 0.01: 0.9}, given=0.1, constant=1.0, ax=ax)
    line = ax.get_lines()[0]
    assert line.get_xdata().tolist() == [0.01, 0.1]
    labels = [text.get_text() for text in ax.get_legend().texts]
    assert labels == ["best constant", "not finite", "given: 0.1"]


def test_updates_need_a_row_for_each_step() -> None:
    with pytest.raises(ValueError, match="ratios must have a row for each of 2 steps"):
        lm.plot.updates([1, 2], [[1.0, 1.0]])


def test_comparisons_are_those_of_the_table(ax: Any) -> None:
    table = compared(width=[1, 8])
    lm.plot.comparison(table, ax=ax)
    mean, half, _ = table.difference(1)
    line, _, bars = ax.containers[0]
    assert line.get_xdata()[0] == mean
    low, high = bars[0].get_segments()[0][:, 0]
    assert (low, high) == pytest.approx((mean - half, mean + half))


def test_lines_are_the_means_with_their_range() -> None:
    table = compared(width=[1, 8, 64], activation=["tanh", "relu"])
    ax = table.plot("width", "accuracy", by="activation")
    first = ax.containers[0][0]
    means = [table.values("accuracy", place).mean() for place in (0, 2, 4)]
    assert first.get_ydata().tolist() == pytest.approx(means)
    assert ax.get_xscale() == "log"
    assert [text.get_text() for text in ax.get_legend().texts] == ["tanh", "relu"]
    ax = table.plot("activation", by="width")  # no numbers: nothing is joined
    assert ax.containers[0][0].get_linestyle() == "None"
    with pytest.raises(ValueError, match="x and by must be of width, activation"):
        table.plot("depth")
    with pytest.raises(ValueError, match="y must be one of loss, accuracy"):
        table.plot("width", "speed")


def test_images_are_the_weights_of_the_first_kernel() -> None:
    net = lm.Sequential([lm.Standardize(), lm.Dense(20, "relu"), lm.Dense(1)], seed=0)
    net.build(6)
    axes = lm.plot.weights(net, shape=(2, 3), count=4)
    images = [ax.images[0].get_array() for ax in axes.flat if ax.images]
    assert len(images) == 4
    kernel = net.layers[1].parameters["kernel"]
    strongest = np.sort(np.argsort(-np.square(kernel).sum(axis=0))[:4])
    np.testing.assert_array_equal(images[0].ravel(), kernel[:, strongest[0]])
    with pytest.raises(ValueError, match="shape must hold 6 features"):
        lm.plot.weights(net)


def test_confusions_are_counted(ax: Any) -> None:
    truth = np.array([0, 0, 1, 2, 2, 2])
    outputs = np.eye(3)[[0, 1, 1, 2, 2, 0]]
    lm.plot.confusion(truth, outputs, ax=ax)
    counts = [int(text.get_text()) for text in ax.texts]
    assert counts == [1, 1, 0, 0, 1, 0, 1, 0, 2]
    assert ax.get_title() == "66.7% of 6 right"
    binary = lm.plot.confusion(np.array([0, 1]), np.array([[0.2], [0.7]]))
    assert binary.get_title() == "100.0% of 2 right"
    with pytest.raises(ValueError, match="truth must be labels"):
        lm.plot.confusion([0.5], [1])


@pytest.mark.parametrize("classes", [2, 3, 0])
def test_a_plane_shows_every_row(classes: int, ax: Any) -> None:
    x = X[:, :2]
    if classes:
        y: Any = np.digitize(x[:, 0], [0.0] if classes == 2 else [-0.5, 0.5])
        net = lm.Sequential([lm.Dense(classes, "softmax")], seed=0)
    else:
        y = x[:, 0]
        net = lm.Sequential([lm.Dense(1)], seed=0)
    net.fit(x, y, epochs=5, verbose=0)
    lm.plot.plane(net, x, y, steps=20, ax=ax)
    assert sum(len(line.get_xdata()) for line in ax.get_lines()) == 200
    with pytest.raises(ValueError, match="x must have two features"):
        lm.plot.plane(net, X, Y)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r"pip install lamina\[plots\]"):
        lm.plot.rates({0.1: 1.0})
