"""`lamina.distributed`: the same bits on any number of ranks, and every fault."""

from __future__ import annotations

import copy
import subprocess
import sys
import threading
import tracemalloc
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse
from numpy.typing import ArrayLike

import lamina as lm
import ranks
from lamina import _core, distributed
from lamina._checks import Array
from lamina.distributed import Communicator, RankError
from ranks import Faulty, bits, connected, together

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="processes are given sockets as POSIX does"
)

RANDOM = np.random.default_rng(5)
X = RANDOM.normal(size=(200, 7)) * [1, 1, 50, 1, 1, 1, 1] + 3
Y = (X[:, 0] * X[:, 1] > X[:, 3] + 5).astype(int) + (X[:, 4] > 4)
DTYPES = "float32", "float64"


def net(dtype: str = "float32") -> lm.Sequential:
    layers = [
        lm.Standardize(),
        lm.GaussianNoise(0.05),
        lm.Dense(24, "relu", l2=1e-3, l1=1e-4),
        lm.Dropout(lm.schedules.Cosine(0.3, 60)),
        lm.Residual([lm.Dense(24, "tanh"), lm.LayerNorm()]),
        lm.Dense(3, "softmax"),
    ]
    return lm.Sequential(layers, seed=3, dtype=dtype)


ADAM = lm.Adam(lm.schedules.Cosine(0.02, 60), global_clip_norm=1.0)
MOMENTUM = lm.SGD(0.001, momentum=0.9)
DECAYING = lm.AdamW(0.01, weight_decay=lm.schedules.Cosine(0.1, 40))


def train(
    communicator: Communicator, made: lm.Sequential | None = None, **options: Any
) -> lm.Sequential:
    made = net() if made is None else made
    options = {"epochs": 3, "batch_size": 64, "verbose": 0} | options
    options.setdefault("optimizer", ADAM)
    distributed.fit(made, X, Y, communicator, **options)
    return made


def plain(dtype: str = "float32") -> lm.Sequential:
    """Whose shards are computed at once where they have five rows, and kernels in
    blocks."""
    layers = [
        lm.Dense(150, "gelu"),
        lm.Dropout(0.2),
        lm.Dense(1, use_bias=False),
        lm.Dense(53, "relu"),
        lm.Dropout(0.1),
        lm.GaussianNoise(0.05),
        lm.Residual([lm.Dense(53, "softmax")]),
        lm.Dense(3, "softmax"),
    ]
    return lm.Sequential(layers, seed=3, dtype=dtype)


def histories(nets: list[lm.Sequential]) -> list[dict[str, list[float]]]:
    return [dict(each.history or {}) for each in nets]


@pytest.mark.parametrize("size", [2, 3, 4])
@pytest.mark.parametrize("shards", [1, 2, 3, 8, 11])
@pytest.mark.parametrize(
    ("make", "some"),
    [
        (net, {}),
        (plain, {}),
        (plain, {"batch_size": 16, "optimizer": DECAYING}),
        (plain, {"batch_size": 5, "optimizer": DECAYING}),  # each rank updates a part
        (partial(plain, "float64"), {"batch_size": 24, "optimizer": MOMENTUM}),
    ],
)
def test_the_same_shards_give_the_same_net_on_any_number_of_ranks(
    size: int, shards: int, make: Callable[[], lm.Sequential], some: dict[str, Any]
) -> None:
    """Where batches are of 64 of the 180 rows, the last of 52; 16 rows in 11 shards."""
    options: dict[str, Any] = some | {
        "shards": shards,
        "validation_split": 0.1,
        "class_weight": "balanced",
    }
    (alone,) = together(1, lambda own: train(own, make(), **options))
    ranks = together(size, lambda own: train(own, make(), **options))
    assert {bits(each) for each in ranks} == {bits(alone)}
    assert all(each == histories([alone])[0] for each in histories(ranks))


class Wrong(lm.schedules.Schedule):
    """From step 50 on."""

    def __call__(self, steps: ArrayLike) -> Array:
        return np.where(np.asarray(steps) < 50, 0.01, -1.0)


def test_a_net_of_which_ranks_have_parts_is_neither_copied_nor_saved(
    tmp_path: Path,
) -> None:
    """Not in the 40 steps of an epoch, but between them; not after a fault."""
    said: list[str] = []

    def assert_whole(made: lm.Sequential) -> None:
        assert bits(copy.deepcopy(made)) == bits(made)

    def run(own: Communicator) -> lm.Sequential:
        made, exchange = plain(), own.exchange

        def watched(*arrays: Any) -> None:
            exchange(*arrays)
            try:
                bits(copy.deepcopy(made))
            except RuntimeError as error:
                said.append(str(error))

        own.exchange = watched  # type: ignore[assignment, method-assign]
        between = lm.callbacks.LambdaCallback(
            on_epoch_end=lambda net, *_: assert_whole(net)
        )
        options: dict[str, Any] = {"batch_size": 5, "epochs": 1, "callbacks": [between]}
        train(own, made, optimizer=lm.Adam(Wrong()), **options)
        assert made.steps == 40
        assert_whole(made)
        with pytest.raises(ValueError, match="learning_rate"):
            train(own, made, optimizer=lm.Adam(Wrong()), **options)
        return made

    found = together(2, run)
    assert len(said) >= 2 * 40 * 2  # ranks, steps of the first fit, exchanges of each
    for each in found:
        with pytest.raises(RuntimeError, match="save must wait until the steps of all"):
            each.save(tmp_path / "other")
        with pytest.raises(RuntimeError, match=r"fit must wait .* ModelCheckpoint"):
            each.fit(X, Y, verbose=0)


def test_one_shard_is_a_plain_fit() -> None:
    (alone,) = together(1, lambda own: train(own, shards=1))
    plain = net()
    plain.fit(X, Y, epochs=3, batch_size=64, optimizer=ADAM, verbose=0)
    assert bits(plain) == bits(alone)
    assert histories([plain]) == histories([alone])


class SignMomentum(lm.optimizers.Optimizer):
    slots = 1

    def update(self, weights: Array, gradients: Array, state: Array, step: int) -> None:
        state[0] = 0.9 * state[0] + gradients
        weights -= 0.01 * np.sign(state[0])


class Batches(lm.callbacks.Callback):
    """Looks at every step, and stops in the middle of an epoch."""

    def on_batch_end(self, net: Any, step: int, scores: dict[str, float]) -> bool:
        net.rate_factor = 0.5
        return step == 7


def float64() -> lm.Sequential:
    return net("float64")


def embedded() -> lm.Sequential:
    return lm.Sequential(
        [Faulty(), lm.Dense(9, "gelu"), lm.Dense(3, "softmax")], seed=2
    )


@pytest.mark.parametrize(
    ("make", "options"),
    [
        (float64, {}),
        (embedded, {"optimizer": SignMomentum()}),
        (net, {"optimizer": DECAYING}),
        (net, {"optimizer": "lion", "shuffle": False}),
        (net, {"callbacks": [lm.callbacks.ReduceOnPlateau("loss", patience=1)]}),
        (
            net,
            {
                "optimizer": lm.SGD(3.0),
                "callbacks": [lm.callbacks.EarlyStopping("loss", patience=2)],
                "epochs": 9,
            },
        ),
        (net, {"callbacks": [Batches()]}),
        (net, {"metrics": {"worst": lambda y, p: float(p.max())}, "epochs": 1}),
    ],
)
def test_what_rank_0_decides_is_what_all_do(
    make: Callable[[], lm.Sequential], options: dict[str, Any]
) -> None:
    (alone,) = together(1, lambda own: train(own, make(), **copy.deepcopy(options)))
    ranks = together(3, lambda own: train(own, make(), **copy.deepcopy(options)))
    assert {bits(each) for each in ranks} == {bits(alone)}
    assert all(each == histories([alone])[0] for each in histories(ranks))
    counts = alone.steps, alone.epoch, alone.rate_factor, alone.history.stopped
    for each in ranks:
        assert each.history is not None
        assert counts == (
            each.steps,
            each.epoch,
            each.rate_factor,
            each.history.stopped,
        )


@pytest.mark.parametrize("when", ["before", "on_train_begin", "on_epoch_begin"])
def test_a_rate_that_rank_0_sets_before_the_first_step_is_that_of_all(
    when: str,
) -> None:
    class Slower(lm.callbacks.Callback):
        def on_train_begin(self, net: Any, epochs: range) -> None:
            if when == "on_train_begin":
                net.rate_factor = 0.25

        def on_epoch_begin(self, net: Any, epoch: int, rows: int | None) -> None:
            if when == "on_epoch_begin":
                net.rate_factor = 1 / (epoch + 1)

    def run(own: Communicator) -> lm.Sequential:
        made = net()
        if when == "before" and own.rank == 0:
            made.rate_factor = 0.25
        return train(own, made, callbacks=[Slower()])

    alone, *ranks = together(1, run) + together(3, run)
    assert alone.rate_factor < 0.5
    assert {(bits(each), each.rate_factor) for each in ranks} == {
        (bits(alone), alone.rate_factor)
    }


def test_sparse_rows_and_memory_maps_train_to_the_same_bits(tmp_path: Path) -> None:
    def make() -> lm.Sequential:
        layers = [lm.Dense(16, "relu"), lm.Dense(3, "softmax")]
        return lm.Sequential(layers, seed=1)

    def run(own: Communicator, rows: Any) -> lm.Sequential:
        made = make()
        distributed.fit(made, rows, Y, own, batch_size=50, shards=3, verbose=0)
        return made

    thin = np.where(X > 3, X, 0)
    np.save(tmp_path / "x.npy", thin)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for rows in (scipy.sparse.csr_array(thin), mapped):
        (alone,) = together(1, partial(run, rows=rows))
        ranks = together(2, partial(run, rows=rows))
        assert {bits(each) for each in ranks} == {bits(alone)}


def test_ranks_are_imported_without_what_posix_alone_has() -> None:
    script = "import sys; sys.modules['resource'] = None; import ranks"
    subprocess.run(
        [sys.executable, "-c", script], cwd=Path(__file__).parent, check=True
    )


def test_two_trainings_at_once_do_not_meet() -> None:
    def run(own: Communicator) -> list[lm.Sequential]:
        nets = [net(dtype) for dtype in DTYPES]
        other = second[own.rank]
        thread = threading.Thread(target=train, args=(other, nets[1]))
        thread.start()
        train(own, nets[0])
        thread.join()
        return nets

    with connected(2) as second:
        ranks = together(2, run)
    expected = [together(1, partial(train, made=net(d)))[0] for d in DTYPES]
    for a, b, alone in zip(*ranks, expected, strict=True):
        assert bits(a) == bits(b) == bits(alone)


def test_steps_after_the_first_take_no_memory() -> None:
    """A gradient is 400 KB, a batch 200 KB; what is small comes and goes."""
    x, y = RANDOM.normal(size=(512, 200)).astype(np.float32), np.zeros(512)
    peaks: list[int] = []

    class Memory(lm.callbacks.Callback):
        def on_batch_end(self, net: Any, step: int, scores: dict[str, float]) -> None:
            if tracemalloc.is_tracing():
                now, peak = tracemalloc.get_traced_memory()
                peaks.append(peak - now)
                tracemalloc.reset_peak()
            elif step == 2:  # of both lengths of batch
                tracemalloc.start()

    def run(own: Communicator) -> None:
        made = lm.Sequential([lm.Dense(500, "relu"), lm.Dense(1)], seed=0)
        distributed.fit(
            made, x, y, own, epochs=3, callbacks=[Memory()], shards=4, verbose=0
        )

    together(2, run)
    tracemalloc.stop()
    assert len(peaks) == 4
    assert max(peaks) < 1 << 16


# Refusals -----------------------------------------------------------------------------


def refused(change: Callable[[int, dict[str, Any]], object], message: str) -> None:
    """Every rank raises it, before the first step."""

    def run(own: Communicator) -> None:
        given: dict[str, Any] = {"net": net(), "x": X, "y": Y, "shards": 4}
        change(own.rank, given)
        made, x, y = given.pop("net"), given.pop("x"), given.pop("y")
        with pytest.raises(ValueError, match=message):
            distributed.fit(made, x, y, own, verbose=0, **given)
        assert made.steps == 0

    together(3, run)


def on_rank_2(**arguments: Any) -> Callable[[int, dict[str, Any]], None]:
    return lambda rank, given: given.update(arguments) if rank == 2 else None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"net": net("float64")}, "rank 2 must have the dtype of rank 0, float32, got"),
        ({"net": net().clone(seed=4)}, "rank 2 must have the seed of rank 0, 3, got 4"),
        ({"net": lm.Sequential([lm.Dense(3, "softmax")], seed=3)}, "rank 2 .* layers"),
        ({"x": X[1:], "y": Y[1:]}, "rank 2 must have the rows of rank 0, 200, got 199"),
        ({"x": X + 1}, "rank 2 must have the data of rank 0"),
        ({"y": 2 - Y}, "rank 2 must have the data of rank 0"),
        ({"shards": 3}, "rank 2 must have the shards of rank 0, 4, got 3"),
        ({"batch_size": 9}, "rank 2 must have the batch_size of rank 0, 256, got 9"),
        ({"optimizer": "sgd"}, r"rank 2 must have the optimizer of rank 0, Adam\("),
    ],
)
def test_ranks_that_differ_are_refused_by_name(
    arguments: dict[str, Any], message: str
) -> None:
    refused(on_rank_2(**copy.deepcopy(arguments)), message)


def test_a_net_that_has_learnt_something_else_is_refused() -> None:
    trained = net()
    trained.fit(X, Y, verbose=0)
    trained.steps = trained.epoch = trained._updates = 0
    refused(on_rank_2(net=trained), "rank 2 must have the net of rank 0")


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Version(str):
        def __str__(self) -> str:
            return "0.2" if threading.current_thread().name == "rank 1" else "0.1"

    core = types.SimpleNamespace(**vars(_core) | {"__version__": Version()})
    monkeypatch.setattr(distributed, "_core", core)
    refused(
        lambda rank, given: None, "rank 1 must have the version of rank 0, 0.1, got"
    )


TARGETS = lm.show_config()["targets_available"]


def test_ranks_of_different_processors_train_the_same_net(tmp_path: Path) -> None:
    fused = [name for name in TARGETS if name != "sse2"]
    whole = ranks.net()
    path = str(tmp_path / "net")
    together(1, lambda own: ranks.train(whole, own, "", path, ranks.EPOCHS))
    with ranks.processes(2, "", path, targets=[fused[0], fused[-1]]) as started:
        for process in started:
            said, told = process.communicate(timeout=100)
            assert said == f"None {bits(whole).hex()}\n", told


@pytest.mark.skipif("sse2" not in TARGETS, reason="no processor without fma here")
def test_a_rank_without_fused_multiply_add_is_refused(tmp_path: Path) -> None:
    """Its sums are others."""
    targets = [next(name for name in TARGETS if name != "sse2"), "sse2"]
    with ranks.processes(2, "", str(tmp_path / "net"), targets=targets) as started:
        for process in started:
            _, told = process.communicate(timeout=100)
            assert "rank 1 must have the fused multiply-add of rank 0, True" in told


def test_a_layer_that_needs_the_whole_batch_is_refused() -> None:
    def run(own: Communicator) -> None:
        made = lm.Sequential([lm.BatchNorm(), lm.Dense(3, "softmax")], seed=0)
        with pytest.raises(ValueError, match=r"layers\[0\] must not be a BatchNorm"):
            train(own, made)
        assert made.history is None
        assert made.optimizer is None

    together(1, run)


def test_batches_are_refused() -> None:
    def run(own: Communicator) -> None:
        with pytest.raises(TypeError, match="y must be given"):
            distributed.fit(net(), [(X, Y)], None, own)

    together(1, run)


def test_a_net_that_a_rank_changes_by_itself_is_found_out() -> None:
    """A callback within an epoch."""

    class Nudge(lm.callbacks.Callback):
        def on_batch_end(self, net: Any, step: int, scores: dict[str, float]) -> None:
            net.parameters[0] += 1

    def run(own: Communicator) -> None:
        with pytest.raises(
            RuntimeError, match="rank 1 has not the net of rank 0 after"
        ):
            train(own, callbacks=[Nudge()])

    together(2, run)


def test_a_file_that_cannot_be_read_is_said_on_every_rank(tmp_path: Path) -> None:
    outcomes = together(
        2, lambda own: distributed.load(tmp_path / "none", own), fails=True
    )
    assert isinstance(outcomes[0], FileNotFoundError)
    assert isinstance(outcomes[1], RankError)
    assert "rank 0: FileNotFoundError" in str(outcomes[1])


@pytest.mark.parametrize(
    ("engine", "message"),
    [(distributed.mpi, r"pip install lamina\[mpi\]"), (distributed.torch, "torch")],
)
def test_an_engine_that_is_not_there_names_what_to_install(
    engine: Callable[[], Communicator], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mpi4py", "torch"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=message):
        engine()


# Faults -------------------------------------------------------------------------------

CAUSES = {
    "kill": "RankError: rank 1 has ended",
    "stop": "RankError: rank 1 has sent nothing for 3 s",
    "raise": "RankError: rank 1: ValueError: of my own",
    "exit": "RankError: rank 1: SystemExit: 3",
    "nan": "FloatingPointError: rank 1: the loss of its rows is nan in step 6",
    "disk": "RankError: rank 0: OSError: [Errno 27] File too large",
    "short": "ValueError: rank 1 must have the rows of rank 0, 128, got 127",
}


@pytest.mark.parametrize("fault", CAUSES)
def test_others_end_and_name_the_rank_and_the_last_checkpoint_resumes(
    fault: str, tmp_path: Path
) -> None:
    pytest.importorskip("safetensors", reason="not on every Python")
    path = tmp_path / "net.safetensors"
    failing = 0 if fault == "disk" else ranks.FAILING
    with ranks.processes(3, fault, str(path)) as started:
        for rank, process in enumerate(started):
            if rank != failing:
                _, told = process.communicate(timeout=100)
                assert CAUSES[fault] in told
                assert process.returncode == 1
    if fault == "short":
        assert not path.exists()
        return

    def resume(own: Communicator) -> lm.Sequential:
        made = distributed.load(path, own, custom={"Faulty": ranks.Faulty})
        assert made.epoch == 1
        ranks.train(made, own, "", str(path), ranks.EPOCHS - 1)
        return made

    whole, elsewhere = ranks.net(), str(tmp_path / "whole")
    together(1, lambda own: ranks.train(whole, own, "", elsewhere, ranks.EPOCHS))
    assert {bits(each) for each in together(2, resume)} == {bits(whole)}


def test_control_c_on_one_rank_ends_the_training_on_all(tmp_path: Path) -> None:
    pytest.importorskip("safetensors", reason="not on every Python")
    with ranks.processes(3, "interrupt", str(tmp_path / "net")) as started:
        for process in started:
            said, told = process.communicate(timeout=100)
            assert said.startswith("interrupt "), told
            assert process.returncode == 0
