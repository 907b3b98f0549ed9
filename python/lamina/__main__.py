"""`python -m lamina`: what this build is; experiments, and diagnoses of one's nets."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lamina.config import show_config
from lamina.experiments import columns, compare
from lamina.experiments.presets import PRESETS
from lamina.experiments.table import Table
from lamina.model import load

_QUESTIONS = "\n".join(f"  {name:<16}{p.question}" for name, p in PRESETS.items())


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 2 where something cannot be used, which one sentence says; 130
    where it was interrupted."""
    options = _parser().parse_args(arguments)
    try:
        code: int = options.run(options)
    except (OSError, ValueError, TypeError, ImportError, RuntimeError) as error:
        print(f"lamina: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("lamina: interrupted", file=sys.stderr)
        return 130
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m lamina", description=__doc__)
    parser.set_defaults(run=_show)
    words = parser.add_subparsers(title="words")

    word = words.add_parser(
        "compare",
        help="train nets that differ in something, side by side",
        description=f"Questions:\n{_QUESTIONS}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    word.add_argument("what", help="a question, or a CSV file with a line of names")
    word.add_argument("--target", help="the column to foretell")
    word.add_argument(
        "--vary",
        action="append",
        default=[],
        metavar="NAME=A,B",
        help="activation, depth, width, dropout, l2, standardize, epochs, batch_size, "
        "optimizer.learning_rate ...",
    )
    word.add_argument("--folds", type=int, default=5)
    word.add_argument("--seeds", type=int, default=3)
    word.add_argument("--save", help="a file of results, to go on from")
    word.add_argument("--threads", type=int)
    word.add_argument("--picture", help="where to draw it")
    word.set_defaults(run=_compare)

    word = words.add_parser("fit", help="make nets of a table, for answers")
    word.add_argument("table", help="a CSV file with a line of names")
    word.add_argument("--target", required=True, help="the column to foretell")
    word.add_argument("--save", required=True, help="a file for the nets")
    presets = ["fast", "default", "best"]
    word.add_argument("--preset", default="default", choices=presets)
    word.add_argument(
        "--kind",
        choices=["classes", "numbers"],
        help="what the target is; by default classes where it is text, or at most "
        "twenty different whole numbers",
    )
    word.add_argument("--time-limit", type=float, metavar="SECONDS")
    word.set_defaults(run=_fit)

    word = words.add_parser("predict", help="answers of nets that fit made")
    word.add_argument("net", help="a file of fit")
    word.add_argument("table", help="a CSV file with the same columns")
    word.add_argument("--save", help="a CSV file for them; else they are printed")
    word.set_defaults(run=_predict)

    word = words.add_parser("diagnose", help="why a net does not learn")
    word.add_argument("net", help="a file of Sequential.save")
    word.add_argument("data", help="a CSV file with a line of names")
    word.add_argument("--target", required=True, help="the column to foretell")
    word.add_argument("--json", action="store_true")
    word.set_defaults(run=_diagnose)
    return parser


def _show(options: argparse.Namespace) -> int:
    for key, value in show_config().items():
        text = ", ".join(value) if isinstance(value, list) else value
        print(f"{key.replace('_', ' '):18} {text}")
    return 0


def _compare(options: argparse.Namespace) -> int:
    picture = options.picture
    file = Path(options.what)
    if options.what not in PRESETS and not (file.suffix or file.exists()):
        raise ValueError(
            f"compare takes a CSV file or one of {', '.join(PRESETS)}, got "
            f"{options.what!r}"
        )
    if options.what in PRESETS and picture is None and find_spec("matplotlib"):
        picture = f"{options.what}.png"
    if picture:
        _require_drawable(picture)
    shared = {"seeds": options.seeds, "save": options.save, "threads": options.threads}
    axes: Any
    if options.what in PRESETS:
        if options.vary or options.target:
            raise ValueError("vary and target must come with a CSV file")
        preset = PRESETS[options.what]
        print(preset.question)
        table = preset.run(**shared)
        print(table)
        if table.stopped is None:
            print(preset.answer(table))
            axes = preset.draw(table)[0]
    else:
        table = _own(options, shared)
        print(table)
        if picture and table.stopped is None:
            from lamina import plot

            axes = plot.comparison(table)
    if table.stopped is not None:
        return 130
    if picture:
        axes.figure.savefig(picture, dpi=100)
        print(f"drawn in {picture}")
    return 0


def _own(options: argparse.Namespace, shared: dict[str, Any]) -> Table:
    if options.target is None:
        raise ValueError(f"target must name a column of {options.what}")
    data = columns.read(options.what, options.target)
    print(data)
    vary = dict(map(_varied, options.vary)) or {"activation": ["relu", "tanh"]}
    fit = {} if "epochs" in vary else {"epochs": 50}
    return compare(
        columns.builder(data),
        data.x,
        data.y,
        vary=vary,
        fit=fit,
        folds=options.folds,
        **shared,
    )


def _varied(text: str) -> tuple[str, list[Any]]:
    name, equals, values = text.partition("=")
    if not equals or not all(values.split(",")):
        raise ValueError(f"vary must be NAME=A,B, got {text!r}")
    return name, [_value(each) for each in values.split(",")]


def _value(text: str) -> Any:
    """A number or a truth value, if it reads like one."""
    if text in ("true", "True", "false", "False"):
        return text.lower() == "true"
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def _diagnose(options: argparse.Namespace) -> int:
    net: Any = load(options.net)
    data = columns.read(options.data, options.target)
    report = net.diagnose(data.x, data.y)
    print(report.to_json() if options.json else report)
    return 0


def _fit(options: argparse.Namespace) -> int:
    import_module("lamina.tabular.command").fit(
        options.table,
        options.target,
        options.save,
        options.preset,
        options.kind,
        options.time_limit,
    )
    return 0


def _predict(options: argparse.Namespace) -> int:
    import_module("lamina.tabular.command").predict(
        options.net, options.table, options.save
    )
    return 0


def _require_drawable(path: str) -> None:
    """Raise before the training rather than after it."""
    if not find_spec("matplotlib"):
        raise ImportError("picture needs matplotlib: pip install lamina[plots]")
    import_module("matplotlib").use("agg")  # nothing is shown
    kinds = import_module("matplotlib.backend_bases").FigureCanvasBase.filetypes
    if Path(path).suffix[1:] not in kinds:
        raise ValueError(f"picture must end in .png, .svg or .pdf, got {path}")
    folder = Path(path).absolute().parent
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise OSError(f"picture must be in a folder that can be written, got {path}")


if __name__ == "__main__":
    sys.exit(main())
