"""Writes the questions of docs/experiments.md with their answers and pictures."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import matplotlib
from PIL import Image
from sklearn.datasets import load_digits

import lamina as lm
from lamina.experiments.presets import PRESETS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "experiments.md"
PICTURES = PAGE.with_suffix("")
BEGIN, END = "<!-- generated: begin -->\n", "<!-- generated: end -->\n"


def questions() -> str:
    """The presets: question, command, answer, what was varied, picture."""
    parts = []
    for name, preset in PRESETS.items():
        table = preset.run(verbose=0, diagnose=False)
        save(preset.draw(table)[0], name)
        varied = "; ".join(
            f"{key}: {', '.join(map(str, values))}"
            for key, values in preset.vary.items()
        )
        parts += [
            f"## {preset.question}",
            f"    python -m lamina compare {name}",
            textwrap.fill(preset.answer(table), 88),
            textwrap.fill(f"({len(table.rows)} trainings, {varied}.)", 88),
            f"![{name}](experiments/{name}.png)",
        ]
    return "\n\n".join(parts)


def others() -> None:
    """The pictures that belong to no preset."""
    save(lm.plot.activation_atlas().flat[0], "activations")
    x, y = load_digits(return_X_y=True)

    def deep(activation: str) -> lm.Sequential:
        hidden = [lm.Dense(32, activation) for _ in range(20)]
        return lm.Sequential([*hidden, lm.Dense(10, "softmax")], seed=0)

    names = ("sigmoid", "tanh", "relu", "elu", "softplus")
    nets = {name: deep(name) for name in names}
    save(lm.plot.signal(nets, x[:500] / 16, y[:500]), "signal")


def save(ax: Any, name: str) -> None:
    """In few colours: a third of the bytes."""
    path = PICTURES / f"{name}.png"
    ax.figure.savefig(path, dpi=100)
    with Image.open(path) as image:
        few = image.convert("RGB").quantize(64)
    few.save(path, optimize=True)


def main() -> None:
    matplotlib.use("agg")
    PICTURES.mkdir(exist_ok=True)
    others()
    head, _, rest = PAGE.read_text().partition(BEGIN)
    tail = rest.partition(END)[2]
    PAGE.write_text(f"{head}{BEGIN}\n{questions()}\n\n{END}{tail}")


if __name__ == "__main__":
    main()
