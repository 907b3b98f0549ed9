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
    for value in ("7", " 7", "7 ", "7\n"):
        assert script(show, LAMINA_NUM_THREADS=value) == "7"
    assert lm.show_config()["threads"] == lm.get_num_threads()


def test_the_variable_of_joblib_and_dask_counts_where_there_is_none_of_our_own() -> (
    None
):
    show, usual = "print(lm.get_num_threads())", str(len(os.sched_getaffinity(0)))
    for value, threads in (("3", "3"), ("5,2", "5")):
        assert script(show, OMP_NUM_THREADS=value) == threads
        assert script(show, OMP_NUM_THREADS=value, LAMINA_NUM_THREADS="") == threads
    assert script(show, OMP_NUM_THREADS="3", LAMINA_NUM_THREADS="4") == "4"
    for value in ("", "0", "-1", "many"):
        assert int(script(show, OMP_NUM_THREADS=value)) <= int(usual)


@pytest.mark.parametrize("value", ["0", "-2", "two", "2.5", "3 4", " "])
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


def test_more_threads_than_the_pool_has_are_all_that_it_has() -> None:
    show = "print(lm.get_num_threads())"
    assert script(show, LAMINA_NUM_THREADS="99999999999999999999999") == "1024"
    before = lm.get_num_threads()
    try:
        for count in (1025, 2**31, 2**63 - 1):
            lm.set_num_threads(count)
            assert lm.get_num_threads() == 1024
            with lm.threads(1), lm.threads(count):
                assert lm.get_num_threads() == 1024
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
assert work(300) == ([1, lm.get_num_threads()], True)
expected = [([1, max(1, joblib.cpu_count() // 2)], True)] * 6  # each has its share
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


# The longest that a helper's part may take, on one thread as on two, is half a second.
INTERRUPTED = """
lm.gelu(x, out=x)
lm.gelu.derivative(x, out=x)
lm.gelu.backward(x, x, out=x)
lm.elu(x, alpha=0.5, out=x)
lm.softmax(rows, out=rows)
lm.log_softmax.backward(rows, rows, out=rows)
lm.gelu(x[::2], out=x[::2])
lm.elu.backward(x[::2], x[1::2], alpha=0.5, out=x[::2])
lm.softmax(rows.T, out=rows.T)
lm.softmax(rows[:, ::2], out=rows[:, ::2])
lm.tanh(np.broadcast_to(x[:1], x.shape), out=x)
lm.gelu(small)
lm.dense(single, single, activation="gelu")
lm.dense(single, lm.pack(single, "auto"))
lm.dense_backward(single, single, single, single, "gelu", dropout=0.5, seed=1)
lm.matmul(single, single)
lm.dropout(x, 0.5, out=x)
lm.dropout_backward(x, 0.5, seed=1, out=x)
lm.dropout_mask(x.size * 16, 0.5, seed=1)
_core.gaussian_noise(single, 1.0, 1, 0)
_core.random_words(x.size, 1, 0)
lm.initializers.permutation(x.size // 8, 1, 0)
lm.initializers.normal(single.shape, seed=1)
lm.losses.mean_squared_error(rows, rows)
_core.update(lm.Adam().core, x[:n], x[:n], x[:2 * n], 0.0, 1)
_core.clip(lm.Adam(clip_norm=1.0).core, x, [x.size])
_core.limit_norms(rows, 1.0)
net.fit(wide, wide, epochs=2, verbose=0)
net.predict(wide)
net.evaluate(wide, wide)
net.gradients(wide, wide)
net.train_on_batch(wide, wide)
""".strip().splitlines()


@pytest.mark.parametrize("count", [1, 2])
def test_a_handler_that_raises_ends_a_call_and_not_the_process(count: int) -> None:
    """In whichever call: what the handler raised comes out of it, and no other."""
    text = f"""
import signal
from lamina import _core
class Ring(Exception):
    pass
def ring(*_):
    raise Ring
lm.set_num_threads({count})
x = np.zeros(48_000_000)
n = x.size // 2
rows = x.reshape(-1, 1000)
small = np.zeros(x.size, np.int8)
single = np.ones((4096, 4096), np.float32)
wide = np.ones((60_000, 256), np.float32)
options = dict(loss="mean_squared_error", optimizer="adam")
net = lm.Sequential([lm.Dense(256, "gelu"), lm.Dropout(0.5), lm.Dense(256)])
net.fit(wide[:9], wide[:9], epochs=1, verbose=0, **options)
signal.signal(signal.SIGALRM, ring)
for call in {INTERRUPTED!r}:
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    try:
        while True:
            eval(call)
    except Ring:
        pass
    print(call)
"""
    assert script(text).splitlines() == INTERRUPTED


def test_a_handler_may_compute_in_the_middle_of_a_call() -> None:
    """By any way into the kernels, long enough to look for signals itself."""
    text = """
import signal
lm.set_target(lm.show_config()["targets_available"][0])
long, flat = np.ones((2000, 2000), np.float32), np.ones(24_000_000, np.float32)
seen, ready = [], []
def compute(*_):
    if ready and ready.pop():
        signal.setitimer(signal.ITIMER_REAL, 0.01)
        seen.append(lm.gelu.ufunc(flat)[-1] == lm.gelu(flat[::2])[-1])
        seen.append((lm.matmul(long[:999], long) == 2000).all())
signal.signal(signal.SIGALRM, compute)
for call in (lambda: lm.matmul(long, long), lambda: lm.elu(flat[::2], alpha=0.5)):
    signal.setitimer(signal.ITIMER_REAL, 0.05)
    seen.clear()
    ready[:] = [0, 1]  # the second signal finds the first one's handler
    right = call().min() in (1, 2000)
    signal.setitimer(signal.ITIMER_REAL, 0)
    print(right, seen)
"""
    for threads in "12":
        found = script(text, LAMINA_NUM_THREADS=threads).splitlines()
        assert [line.split()[0] for line in found] == ["True", "True"]
        assert "False" not in "".join(found)


def test_a_long_call_through_the_ufunc_is_left_early() -> None:
    """By the handler's exception, with most of the result not written."""
    text = """
import signal
lm.set_target(lm.show_config()["targets_available"][0])  # the slowest
x = np.zeros(64_000_000)
small, columns = np.zeros(x.size, np.int8), x.reshape(1000, -1).T
calls = [lambda: lm.gelu(x[::2], out=x[::2]), lambda: lm.gelu.backward(x, small, out=x),
         lambda: lm.softmax(columns, out=columns)]
signal.signal(signal.SIGALRM, signal.default_int_handler)
for call in calls:
    x[:] = -1
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    try:
        call()
    except KeyboardInterrupt:
        print((x[-1000:] == -1).all())
"""
    assert script(text, LAMINA_NUM_THREADS="1") == "True\nTrue\nTrue"


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


# What the caller's own mode is --------------------------------------------------------

MODE = """
import ctypes, ctypes.util, platform
libm = ctypes.CDLL(ctypes.util.find_library("m"))
arm = platform.machine() == "aarch64"
place, bits = (0, 1 << 24) if arm else (28, 0x8040)  # FPCR; MXCSR in glibc's fenv_t
def flush(on):
    state = ctypes.create_string_buffer(32)
    libm.fegetenv(state)
    word = ctypes.c_uint32.from_buffer(state, place)
    word.value = word.value | bits if on else word.value & ~bits
    libm.fesetenv(state)
    assert (np.float32(1e-40) * np.float32(0.5) == 0) == on
def control():
    state = ctypes.create_string_buffer(32)
    libm.fegetenv(state)
    word = int.from_bytes(state[place:place + 4], "little")
    return word if arm else word & ~0x3f
tiny = np.full(1 << 20, 1e-40, np.float32)
double = np.full(1 << 19, 1e-310)
rows, third = tiny.reshape(-1, 64), np.full((1000, 64), 1 / 3, np.float32)
square = np.full((64, 64), 1 / 3, np.float32)
calls = [lambda: lm.gelu(tiny), lambda: lm.relu.backward(double, double),
         lambda: lm.matmul(rows, square), lambda: lm.softmax(third * rows[:1000]),
         lambda: lm.dropout(tiny, 0.5, seed=1), lambda: lm.tanh(third.repeat(20, 0)),
         lambda: lm.dense(third, square, third[0], "gelu")]
def results():
    found = []
    before = control()
    for count in (1, 2, 8):
        with lm.threads(count):
            found.append([call().tobytes() for call in calls])
    assert control() == before
    assert found[0] == found[1] == found[2], [
        [a == b for a, b in zip(found[0], other)] for other in found[1:]]
    return found[0]
"""


@pytest.mark.parametrize("first", [False, True])
def test_subnormals_are_flushed_on_every_thread_or_on_none(first: bool) -> None:
    """As the caller says; whatever was said when helpers were made."""
    text = f"""
flush({first})
once = results()
flush({not first})
other = results()
flush({first})
assert results() == once
flush(False)
print([a == b for a, b in zip(once, other)][:2])
"""
    assert script(MODE + text) == "[False, False]"


def test_rounding_is_the_callers_on_every_thread() -> None:
    text = """
nearest = results()
upward = 1 << 22 if arm else 0x800
libm.fesetround(upward)
up = results()
libm.fesetround(0)
assert results() == nearest
print(any(a != b for a, b in zip(nearest, up)))
"""
    assert script(MODE + text) == "True"


# What stays ---------------------------------------------------------------------------

LARGE = {
    "dense_backward": "lm.dense_backward(wide, ones, kernel, wide, 'tanh', out=out)",
    "dense": "lm.dense(ones, kernel, activation='softmax', out=wide)",
    "matmul": "lm.matmul(ones.T, wide, out=kernel)",
    "fit": "net.fit(ones, wide, batch_size=len(ones), epochs=1, **options)",
    "predict": "net.predict(ones, out=wide, batch_size=len(ones))",
    "evaluate": "net.evaluate(ones, wide)",
    "gradients": "net.gradients(ones, wide), net.release_memory()",
    "train_on_batch": "net.train_on_batch(ones, wide), net.release_memory()",
    "a small step": "net.gradients(ones, wide), net.gradients(ones[:9], wide[:9])",
}


@pytest.mark.parametrize("call", LARGE)
def test_scratch_of_a_large_call_is_given_back(call: str) -> None:
    """To the system, but for 32 MiB of a thread and 64 of a net: docs of memory."""
    text = f"""
def mib():
    return int(open("/proc/self/statm").read().split()[1]) * 4096 >> 20
ones, wide = np.ones((500_000, 4), np.float32), np.ones((500_000, 64), np.float32)
kernel = np.ones((4, 64), np.float32)
out = np.ones_like(ones), np.ones_like(kernel), np.ones(64, np.float32)
options = dict(verbose=0, loss="mean_squared_error")
net = lm.Sequential([lm.Dense(32, "gelu"), lm.Dense(64)])
net.fit(ones[:9], wide[:9], epochs=1, **options)
before = mib()
{LARGE[call]}
print(mib() - before)
"""
    for threads in "12":
        assert int(script(text, LAMINA_NUM_THREADS=threads)) < 32 + 64 + 8
