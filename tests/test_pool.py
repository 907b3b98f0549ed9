"""Threads within a call: how many, the same results for any number of them, and what
may go wrong around them."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest
import threadpoolctl

import lamina as lm
from lamina import losses
from test_bits import numbers
from test_optimizers import OPTIMIZERS

COUNTS = [2, 3, 8]


def script(text: str, **variables: str) -> str:
    """What it prints; in a process of its own, which a hang cannot leave."""
    done = subprocess.run(
        [sys.executable, "-c", "import numpy as np, lamina as lm\n" + text],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=300,  # a hang; it takes a second or two
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.strip()


# How many -----------------------------------------------------------------------------


def test_as_many_as_processors_unless_told_otherwise() -> None:
    show = "print(lm.get_num_threads())"
    available = len(os.sched_getaffinity(0))
    assert 1 <= int(script(show)) <= available
    one = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}})\n"
    assert script(one + show) == "1"
    assert script(show, LAMINA_NUM_THREADS="7") == "7"
    assert lm.show_config()["threads"] == lm.get_num_threads()


@pytest.mark.parametrize("value", ["0", "-2", "two", "2.5", "3 "])
def test_variable_must_be_a_number(value: str) -> None:
    text = "raise SystemExit"
    with pytest.raises(AssertionError, match="LAMINA_NUM_THREADS must be a number"):
        script(text, LAMINA_NUM_THREADS=value)


def test_process_and_thread_have_counts_of_their_own() -> None:
    before = lm.get_num_threads()
    seen = []
    try:
        lm.set_num_threads(3)
        with lm.threads(5) as five:
            with lm.threads(2), five, lm.threads(1):
                assert lm.get_num_threads() == 1
            assert lm.get_num_threads() == 5
            other = threading.Thread(target=lambda: seen.append(lm.get_num_threads()))
            other.start()
            other.join()
        assert seen == [3]
        assert lm.get_num_threads() == 3
    finally:
        lm.set_num_threads(before)


@pytest.mark.parametrize("count", [0, -1])
def test_count_is_at_least_one(count: int) -> None:
    for call in (lm.set_num_threads, lm.threads):
        with pytest.raises(
            ValueError, match=f"count must be an integer >= 1, got {count}"
        ):
            call(count)
    with pytest.raises(TypeError, match=r"count must be an integer >= 1, got 1\.5"):
        lm.threads(1.5)  # type: ignore[arg-type]


# The same results ---------------------------------------------------------------------


def products(dtype: Any) -> list[np.ndarray]:
    found = []
    for rows, depth, columns in [
        (1, 1000, 1000),
        (4, 700, 900),
        (300, 70, 130),
        (97, 333, 65),
    ]:
        a = numbers(rows, depth, dtype=dtype)
        b = numbers(depth, columns, dtype=dtype)
        for left in (a, np.asfortranarray(a)):
            found += [lm.matmul(left, b), lm.matmul(left, np.asfortranarray(b))]
    # Parts of other widths: a row times much, few columns of much depth, much of all.
    for rows, depth, columns in [(1, 1100, 1040), (90, 4000, 70), (1100, 600, 1040)]:
        a, b = numbers(rows, depth, dtype=dtype), numbers(depth, columns, dtype=dtype)
        found += [lm.matmul(a, b), lm.matmul(np.asfortranarray(a), b)]
    return found


def layers(dtype: Any) -> list[Any]:
    x, kernel = numbers(500, 130, dtype=dtype), numbers(130, 140, dtype=dtype) / 32
    bias, dy = numbers(140, dtype=dtype), numbers(500, 140, dtype=dtype)
    found: list[Any] = []
    dropout: Any = {"dropout": 0.25, "seed": 5, "offset": 3}
    for name in ("identity", "gelu", "softmax", "log_softmax"):
        y, kept = lm.dense(x, kernel, bias, name, return_saved=True, **dropout)
        found += [y, kept, *lm.dense_backward(dy, x, kernel, kept, name, **dropout)]
    # Little but column sums.
    tall = numbers(5000, 210, dtype=dtype)
    found.append(lm.dense_backward(tall, tall[:, :1], tall[:1], tall)[2])
    return found


def elements(dtype: Any) -> list[np.ndarray]:
    x = numbers(200_003, dtype=dtype)
    mask = lm.dropout_mask(x.size, 0.3, seed=9)
    rows = x[:200_000].reshape(-1, 10)
    return [
        lm.gelu(x),
        lm.gelu.derivative(x),
        lm.relu.backward(x, x),
        lm.dropout(x, 0.3, seed=9, offset=5),
        lm.dropout_backward(x, 0.3, mask=mask),
        lm.softmax(rows),
        lm.log_softmax.backward(rows, lm.log_softmax(rows)),
    ]


def training(dtype: Any) -> list[np.ndarray]:
    z = numbers(30_000, 7, dtype=dtype)
    labels, gradient = np.arange(30_000) * 5 % 7, np.empty_like(z)
    loss = losses.categorical_crossentropy(z, labels, gradient=gradient)
    found = [np.array(loss), gradient]
    for rule in OPTIMIZERS:
        w, dw = numbers(300_001, dtype=dtype), numbers(300_001, dtype=dtype)
        state = np.zeros((rule.slots, w.size), dtype)
        for step in (1, 2):
            rule.update(w, dw, state, step)
        found += [w, state]
    return found


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("compute", [products, layers, elements, training])
def test_any_number_of_threads_gives_the_same_bits(
    compute: Callable[[Any], list[np.ndarray]], dtype: Any, target: str
) -> None:
    with lm.threads(1):
        alone = compute(dtype)
    for count in COUNTS:
        with lm.threads(count):
            for a, b in zip(alone, compute(dtype), strict=True):
                np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("rows", "depth", "columns", "left", "right"),
    [(4096, 300, 140, "F", "C"), (32, 4096, 130, "C", "F"), (96, 3000, 100, "C", "F")],
)
def test_parts_that_need_more_memory_than_the_whole(
    rows: int, depth: int, columns: int, left: Any, right: Any, dtype: Any, target: str
) -> None:
    a = np.asarray(np.round(numbers(rows, depth)), dtype, order=left)
    b = np.asarray(np.round(numbers(depth, columns)), dtype, order=right)
    with lm.threads(2):
        for _ in range(5):
            np.testing.assert_array_equal(lm.matmul(a, b), a @ b)  # exact: integers


def test_many_python_threads_share_the_pool() -> None:
    x = numbers(400, 400, dtype=np.float32)
    with lm.threads(1):
        expected = lm.matmul(x, x)
    wrong: list[int] = []

    def work() -> None:
        for i in range(30):
            if not np.array_equal(lm.matmul(x, x), expected):
                wrong.append(i)

    with lm.threads(4):
        workers = [threading.Thread(target=work) for _ in range(8)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
    assert wrong == []


# What may go wrong --------------------------------------------------------------------

MULTIPLY = """
lm.set_num_threads(4)
x = np.ones((300, 300), np.float32)
def multiply(_=None):
    y = lm.matmul(x, x)
    return bool((y == 300).all())
"""


def test_children_of_a_fork_have_threads_of_their_own() -> None:
    text = """
import os
assert multiply()
for _ in range(50):
    child = os.fork()
    if child == 0:
        os._exit(0 if multiply() and multiply() else 1)
    assert multiply()
    assert os.waitpid(child, 0)[1] == 0
print("done")
"""
    assert script(MULTIPLY + text) == "done"


@pytest.mark.parametrize("count", [1, 4])
def test_fork_in_a_signal_handler(count: int) -> None:
    """In the middle of a product: parent and child both finish it."""
    text = f"""
import os, signal
lm.set_num_threads({count})
long = np.ones((4000, 4000), np.float32)
y = np.full_like(long, np.nan)
def fork(*_):
    global child
    print("unfinished:", np.isnan(y).any(), flush=True)
    child = os.fork()
signal.signal(signal.SIGALRM, fork)
signal.setitimer(signal.ITIMER_REAL, 0.05)
lm.matmul(long, long, out=y)
right = (y == 4000).all() and multiply() and multiply()
if child == 0:
    os._exit(0 if right else 1)
print(right, os.waitpid(child, 0)[1])
"""
    assert script(MULTIPLY + text) == "unfinished: True\nTrue 0"


def product_of_ones(size: int) -> float:
    x = np.ones((size, size), np.float32)
    return float(lm.matmul(x, x).min())


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_a_pool(method: str) -> None:
    assert product_of_ones(300) == 300
    with ProcessPoolExecutor(2, get_context(method)) as pool:
        assert list(pool.map(product_of_ones, [300] * 6)) == [300.0] * 6


def test_workers_of_joblib() -> None:
    text = """
import joblib
from threadpoolctl import threadpool_limits
def work(size):
    x = np.ones((size, size), np.float32)
    with threadpool_limits(1):
        counts = [lm.get_num_threads()]
        right = (lm.matmul(x, x) == size).all()
    counts.append(lm.get_num_threads())
    return counts, bool(right and (lm.matmul(x, x) == size).all())
expected = [([1, lm.get_num_threads()], True)] * 6
assert work(300) == expected[0]
run = joblib.Parallel(2, backend="loky")
print(run(map(joblib.delayed(work), [300] * 6)) == expected)
"""
    assert script(text) == "True"


def test_exit_while_helpers_wait() -> None:
    for _ in range(10):
        assert script(MULTIPLY + "print(multiply())") == "True"


def test_no_threads_to_be_had() -> None:
    """The system refuses their stacks; the call does the work alone."""
    text = """
import resource, subprocess, os
y = np.empty_like(x)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = size + (4 << 20)  # half of a thread's stack
subprocess.run(["prlimit", f"--pid={os.getpid()}", f"--as={limit}:"], check=True)
lm.matmul(x, x, out=y)
print((y == 300).all(), len(os.listdir("/proc/self/task")))
"""
    assert script(MULTIPLY + text, OPENBLAS_NUM_THREADS="1") == "True 1"


@pytest.mark.parametrize("count", [1, 2])
def test_control_c_stops_long_work(count: int) -> None:
    text = f"""
import signal
lm.set_num_threads({count})
x = np.ones((5000, 5000), np.float32)
y = np.full_like(x, np.nan)
signal.signal(signal.SIGALRM, signal.default_int_handler)
signal.setitimer(signal.ITIMER_REAL, 0.15)
try:
    lm.matmul(x, x, out=y)
except KeyboardInterrupt:
    print("stopped", np.isnan(y).any())
small = np.ones((300, 300), np.float32)
assert (lm.matmul(small, small) == 300).all()
"""
    assert script(text) == "stopped True"


# Each with the number of blocks of memory that it needs.
HUNGRY = {
    "matmul": ("lm.matmul(x, k)", 1),
    "conversion": ("lm.matmul(half, x)", 1),
    "dense": ("lm.dense(x, k, activation='gelu')", 1),
    "saved": ("lm.dense(x, k, dropout=0.5, seed=1, return_saved=True)", 2),
    "dense_backward": ("lm.dense_backward(a, x, k, a, 'relu')", 1),
    "dropout": ("lm.dropout(a, 0.5)", 1),
    "softmax": ("lm.softmax(a)", 1),
    "predict": ("net.predict(x, batch_size=4096)", 1),
    "fit": ("net.fit(x, a, batch_size=4096, **options)", 1),
}


@pytest.mark.parametrize("call", HUNGRY)
def test_memory_that_is_not_there(call: str) -> None:
    """MemoryError, and nothing kept: the next call finds what it needs."""
    expression, blocks = HUNGRY[call]
    text = f"""
import resource, subprocess, os
a = np.zeros((4096, 4096), np.float32)  # a block: more than any heap keeps
half = np.zeros(a.shape, np.float16)
x, k = np.ones((4096, 2), np.float32), np.ones((2, 4096), np.float32)
net = lm.Sequential([lm.Dense(4096, activation="tanh")])
options = {{"loss": "mean_squared_error", "epochs": 1, "verbose": 0}}
net.fit(x[:8], a[:8], **options)
before = net.parameters.copy()
lm.set_num_threads(1)
def size():
    return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
def allow(limit):
    process = f"--pid={{os.getpid()}}"
    subprocess.run(["prlimit", process, f"--as={{limit}}:"], check=True)
def call():
    return {expression}
at_first = size()
for blocks in range({blocks}):
    for _ in range(2):
        allow(at_first + (blocks << 26) + (1 << 25))
        try:
            call()
        except MemoryError:
            print("none", end=" ")
        print(max(0, size() - at_first) >> 26)
allow("unlimited")
assert (net.parameters == before).all()
call()
"""
    expected = ["none 0"] * (2 * blocks)
    assert script(text, OPENBLAS_NUM_THREADS="1").splitlines() == expected


def test_memory_for_packing_that_is_not_there() -> None:
    """Which is a small block, kept from call to call."""
    text = """
import resource, subprocess, os
a = np.ones((1024, 8192), np.float32)
b = np.ones((1024, 8192), np.float32)
y = np.empty((1024, 1024), np.float32)
lm.set_num_threads(1)
size = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
limit = size + (1 << 19)
subprocess.run(["prlimit", f"--pid={os.getpid()}", f"--as={limit}:"], check=True)
for _ in range(3):
    try:
        lm.matmul(a, b.T, out=y)
    except MemoryError:
        print("none")
subprocess.run(["prlimit", f"--pid={os.getpid()}", "--as=unlimited:"], check=True)
lm.matmul(a, b.T, out=y)
print((y == 8192).all())
"""
    assert script(text, OPENBLAS_NUM_THREADS="1") == "none\nnone\nnone\nTrue"


def test_limits_of_threadpoolctl_reach_the_pool() -> None:
    before = lm.get_num_threads()
    with threadpoolctl.threadpool_limits(1):
        assert lm.get_num_threads() == 1
    assert lm.get_num_threads() == before
    with threadpoolctl.threadpool_limits({"lamina": 3}):
        assert lm.get_num_threads() == 3
    (about,) = threadpoolctl.ThreadpoolController().select(user_api="lamina").info()
    assert about["version"] == lm.__version__
    assert about["num_threads"] == before
