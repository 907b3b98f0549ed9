"""Formats of nets and weights, a file for each; all work on a `Network`.

A format is loaded when it is first asked for.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lamina.exchange import arrays, descriptions, files, from_onnx, to_onnx

__all__ = ["arrays", "descriptions", "files", "from_onnx", "to_onnx"]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


if not TYPE_CHECKING:  # which knows all names

    def __getattr__(name: str) -> Any:
        if name in __all__:
            return importlib.import_module(f"lamina.exchange.{name}")
        raise AttributeError(f"module 'lamina.exchange' has no attribute {name!r}")
