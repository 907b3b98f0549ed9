"""Several Python threads at once, each test in a process of its own: what it guards
against is a crash or a hang."""

import ctypes
import os
import subprocess
import sys

import pytest

START = """
import sys, threading, time
import numpy as np
sys.setswitchinterval(1e-6)
def together(*functions):
    barrier = threading.Barrier(len(functions))
    def run(function):
        barrier.wait()
        function()
    threads = [threading.Thread(target=run, args=(f,)) for f in functions]
    [t.start() for t in threads]
    [t.join() for t in threads]
"""

RACES = {
    # NumPy loads numpy.ma when first asked: not inside a lock of ours.
    "first calls with lists": """
import lamina as lm
together(*[lambda: lm.matmul([[1.0]], [[1.0]])] * 8)
""",
    # A call must not plan with one table of kernels and run another.
    "set_target during products": """
import lamina as lm
a, b = np.ones((400, 300), np.float32), np.ones((300, 400), np.float32)
names, done = lm.show_config()["targets_available"], []
def switch():
    while not done:
        for name in names:
            lm.set_target(name)
def multiply():
    for _ in range(200):
        assert (lm.matmul(a, b) == 300).all()
    done.append(1)
together(switch, multiply)
""",
    # Labels were checked: a later change of the array must not reach the kernel.
    "labels changed during a loss": """
import lamina as lm
from lamina import _core
core = lm.losses.categorical_crossentropy.core
z, labels = np.zeros((400_000, 4), np.float32), np.zeros(400_000, np.int64)
gradient, done = np.empty_like(z), []
def write():
    while not done:
        labels[:] = 2**40
        labels[:] = 0
def use():
    for _ in range(20):
        try:
            _core.loss(core, z, labels, 1.0, None, gradient)
        except ValueError:
            pass
    done.append(1)
together(write, use)
""",
    "nets trained in eight threads are those trained one by one": """
import lamina as lm
x = np.random.default_rng(0).normal(size=(200, 8))
y = (x.sum(axis=1) > 0).astype(int)
def train(seed):
    net = lm.Sequential([lm.Dense(16, activation="gelu"), lm.Dropout(0.3),
                         lm.Dense(2, activation="softmax")], seed=seed)
    net.fit(x, y, epochs=3, verbose=0)
    return net.parameters.copy()
alone, found = [train(seed) for seed in range(8)], {}
def keep(seed):
    found[seed] = train(seed)
together(*[lambda seed=seed: keep(seed) for seed in range(8)])
assert all((found[seed] == alone[seed]).all() for seed in range(8))
""",
    # What a net keeps of the last loss is no other thread's half.
    "one net asked by several losses": """
import lamina as lm
x = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
net = lm.Sequential([lm.Dense(2)], seed=0)
net.build(3)
losses = [lm.losses.huber.using(delta=0.1 * i) for i in range(1, 9)]
def ask(loss):
    return net.input_gradient(x, x[:, :2], loss=loss).tobytes()
alone = [ask(loss) for loss in losses]
def repeat(first):
    for i in range(first, first + 4000):
        assert ask(losses[i % 8]) == alone[i % 8]
    right.append(first)
right = []
together(*[lambda first=first: repeat(first) for first in range(4)])
assert len(right) == 4
""",
    # An attribute that is set has the net compiled again.
    "predict while a layer is changed": """
import lamina as lm
x = np.ones((1, 3))
net = lm.Sequential([lm.Dense(2), lm.Dropout(0.5)], seed=0)
net.build(3)
want, done = net.predict(x), []
def change():
    while len(done) < 3:
        net.layers[1].rate = 0.25
def predict():
    try:
        for _ in range(20000):
            assert (net.predict(x) == want).all()
        right.append(1)
    finally:
        done.append(1)
right = []
together(change, predict, predict, predict)
assert len(right) == 3
""",
    # One call has the pool, others do their work themselves: for no one another result.
    "calls that want the pool at once": """
import lamina as lm
lm.set_num_threads(4)
rng = np.random.default_rng(0)
x = rng.normal(size=(400, 400)).astype(np.float32)
z = rng.normal(size=(1000, 400)).astype(np.float32)
calls = [lambda: lm.matmul(x, x), lambda: lm.tanh(z), lambda: lm.softmax(z),
         lambda: lm.dense_backward(z, z, x, z, "tanh", dropout=0.5, seed=1)[1]]
with lm.threads(1):
    alone = [call().tobytes() for call in calls]
right = []
def repeat(first):
    for i in range(first, first + 12):
        with lm.threads(1 + i % 5):
            right.append(calls[i % 4]().tobytes() == alone[i % 4])
        right.append(calls[i % 4]().tobytes() == alone[i % 4])
together(*[lambda first=first: repeat(first) for first in range(4)])
assert right == [True] * 96, right
""",
}


@pytest.mark.parametrize("race", RACES)
def test_race(race: str) -> None:
    # The limit is against hanging; each takes about a second, or minutes if emulated.
    done = subprocess.run(
        [sys.executable, "-c", START + RACES[race]],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert done.returncode == 0, (done.returncode, done.stderr)


# What a daemon thread does when the interpreter ends; in `lm.gelu(half)` NumPy has the
# GIL's taking back, among frames of ours.
LAST_CALLS = [
    "lm.dense(x, x, activation='relu')",
    "lm.matmul(x, x)",
    "lm.matmul(half, half)",
    "lm.gelu(wide)",
    "lm.gelu(half)",
    "lm.elu(wide[::2], alpha=0.3)",
    "lm.softmax(wide.T)",
    "lm.dropout(wide, 0.5)",
    "lm.dense(x, lm.pack(x, 'auto'))",
    "lm.dense_backward(x, x, x, x, 'gelu')",
    "net.fit(x, x, epochs=3, verbose=0)",
    "net.predict(wide)",
    "net.evaluate(x, x)",
    "net.train_on_batch(x, x)",
    "net.gradients(half, half)",
]


@pytest.mark.parametrize("call", LAST_CALLS)
def test_the_process_ends_well_with_a_daemon_thread_within(call: str) -> None:
    """And files that are open are written."""
    script = f"""
import threading, time
import numpy as np, lamina as lm
x = np.ones((400, 400), np.float32)
half, wide = x.astype(np.float16), np.ones((2000, 400), np.float32)
net = lm.Sequential([lm.Dense(400, "gelu"), lm.Dropout(0.5), lm.Dense(400)])
net.fit(x, x, loss="mean_squared_error", epochs=1, verbose=0)
def serve():
    while True:
        {call}
for _ in range(2):
    threading.Thread(target=serve, daemon=True).start()
time.sleep(0.02)
print("last words", end="")
"""
    for threads in "1122":
        done = subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "LAMINA_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        assert (done.returncode, done.stdout) == (0, "last words"), done.stderr


@pytest.mark.skipif(
    sys.platform == "win32" or not hasattr(ctypes.CDLL(None), "on_exit"),
    reason="the C library has no on_exit",
)
def test_a_call_that_asks_for_signals_when_the_interpreter_has_ended() -> None:
    """For the second after its end that `on_exit` sleeps, by the exit status."""
    script = """
import ctypes, sys, threading, time
import numpy as np, lamina as lm
libc = ctypes.CDLL(None)
libc.on_exit(libc.sleep, None)
wide = np.ones((8000, 8000), np.float32).T
def serve():
    while True:
        lm.softmax(wide, out=wide)  # half a second, and asks each 0.1 s
threading.Thread(target=serve, daemon=True).start()
time.sleep(0.15)
sys.exit(1)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 1, done.stderr
