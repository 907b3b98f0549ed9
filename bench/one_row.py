"""One row through a net of 64-128-10, float32: a Markdown table of medians.

The same net by the Cython of docs/deploy.md, by `net.predict`, and as what `to_onnx`
writes in ONNX Runtime, from Python as its users call it. Before that they must compute
the same.

    python bench/one_row.py [--rounds 5]
"""

import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

import compiled
import lamina as lm
from duels import Duel, run

PAGE = Path(__file__).parents[1] / "docs" / "deploy.md"
ROWS = 1000  # of a call from C


def duels() -> Iterator[Duel]:
    net = lm.Sequential([lm.Dense(128, "relu"), lm.Dense(10, "softmax")], seed=0)
    net.build(64)
    x = np.random.default_rng(0).normal(size=(ROWS, 64)).astype(np.float32)
    y, row = np.empty((ROWS, 10), np.float32), x[:1]
    (source,) = re.findall(r"```cython\n(.*?)```", PAGE.read_text(), re.S)
    served = compiled.extension("served", source).Served(net.get_weights())
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        net.to_onnx().SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    served.rows(x, y)
    np.testing.assert_array_equal(y, net.predict(x))
    np.testing.assert_allclose(session.run(None, {"x": x})[0], y, 1e-5, 1e-6)

    python = partial(net.predict, row)
    runtime = partial(session.run, None, {"x": row})
    yield Duel("a row, from Python", "ONNX Runtime", 1, lambda: (runtime, python))
    from_c = partial(served.rows, x, y)

    def loop() -> None:
        for _ in range(ROWS):
            python()

    yield Duel("a row, from C", "net.predict", 1, lambda: (loop, from_c), ROWS)


if __name__ == "__main__":
    sys.exit(run(__doc__, duels()))
