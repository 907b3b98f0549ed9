"""Results on disk: append-only JSON lines, of which the first names the experiment.

Each training is a line, written in one piece when it ends. A line that a crash tore is
left where it is, and its training done again.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["Journal"]

_HEADER = "lamina experiment"


class Journal:
    """A file of results, begun where there is none.

    Parameters
    ----------
    path : str or path
    identity : dict
        What makes it this experiment and no other.

    Attributes
    ----------
    rows : list of dict
        What the file held.

    Raises
    ------
    OSError
        The file cannot be read or written.
    ValueError
        It holds something else, and is left as it is.
    """

    def __init__(
        self, path: str | os.PathLike[str], identity: Mapping[str, Any]
    ) -> None:
        self.path = Path(path)
        header = json.dumps({_HEADER: 1, **identity})
        with open(self.path, "a"):  # it can be written
            text = self.path.read_text(errors="replace")
        first, newline, rest = text.partition("\n")
        self.rows: list[dict[str, Any]] = []
        if not newline and header.startswith(first):  # new, or torn when it was begun
            self._append(header[len(first) :])
            return
        self._check(first, json.loads(header))
        self.rows = [row for line in rest.splitlines() if (row := _row(line))]
        if not text.endswith("\n"):
            self._append("")

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a result; what is not finite becomes null."""
        plain = {k: None if _not_finite(v) else v for k, v in row.items()}
        self._append(json.dumps(plain))

    def _append(self, line: str) -> None:
        with open(self.path, "a") as file:
            file.write(line + "\n")

    def _check(self, line: str, identity: dict[str, Any]) -> None:
        try:
            found = json.loads(line)
        except ValueError:
            found = None
        if not isinstance(found, dict) or _HEADER not in found:
            raise ValueError(
                f"save must be a new file or one of this experiment, got {self.path}, "
                "which holds no experiment"
            )
        differing = [k for k, v in identity.items() if found.get(k) != v]
        if differing:
            raise ValueError(
                f"save must be a new file or one of this experiment, got {self.path} "
                f"of another: {', '.join(differing)} differ"
            )


def _row(line: str) -> dict[str, Any] | None:
    """None: it was torn."""
    try:
        row = json.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict) or not {"setting", "split", "seed"} <= row.keys():
        return None
    return {k: math.nan if v is None else v for k, v in row.items()}


def _not_finite(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
