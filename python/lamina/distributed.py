"""One net trained by several processes, on one machine or on many.

Every process, a rank, calls `fit` with the same net and all rows. A batch is cut into
shards by its own length, never by how many ranks there are, and the gradients of the
shards are added in one fixed tree: the same shards give the same net, bit for bit, on
any number of ranks, over any engine.

The engine, that of a `Communicator`, carries arrays and adds nothing: `mpi` and `torch`
make one of mpi4py and of PyTorch's process groups.
"""

from __future__ import annotations

import contextlib
import datetime
import importlib
import itertools
import json
import os
import re
import sys
import tempfile
import time
import traceback
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike

from lamina import _checks, _core, losses, model, optimizers, training
from lamina._checks import Array
from lamina.callbacks import Callback
from lamina.history import History
from lamina.layers import BatchNorm
from lamina.network import Network, Sums

__all__ = ["Communicator", "RankError", "fit", "load", "mpi", "torch"]

_RECORD = 1 << 14  # bytes of what ranks tell each other before the first step
_SAMPLE = 1024  # rows that are compared
_PAUSE = 1e-4  # seconds of looking for an answer before others may have the processor


class RankError(RuntimeError):
    """Another rank has failed, ended, or sent nothing for too long; the message names
    it and, where that is known, the cause."""

    def __init__(self, message: str) -> None:
        super().__init__(message)


class Communicator(Protocol):
    """What `fit` needs of an engine; derive from it to bring one of your own.

    Attributes
    ----------
    rank, size : int
        The number of this process, from 0, and how many there are.
    """

    rank: int
    size: int

    def exchange(self, send: Sequence[Array], receive: Sequence[Array]) -> None:
        """Send ``send[r]`` to every other rank r, and fill ``receive[r]`` from it.

        Arrays are contiguous; the receiver's has the size and type of the sender's.
        Those of no elements, and the own rank's, are neither sent nor filled. All ranks
        call it at the same time, and it must wait for all others at once.

        Raises
        ------
        RankError
            A rank has ended, called `abort`, or sent nothing within a time-out.
        """
        ...

    def abort(self, reason: str) -> None:
        """Tell the others that the training has failed, without waiting for them: their
        `exchange` raises RankError(reason), or the engine ends them."""
        ...

    def broadcast(self, data: bytes | None) -> bytes:
        """The `data` of rank 0; those of others are not looked at."""
        given = b"" if data is None or self.rank else data
        length = np.array([len(given)])
        self._share(length)
        held = np.zeros(length[0], np.uint8)
        if self.rank == 0:
            held[:] = np.frombuffer(given, np.uint8)
        self._share(held)
        return held.tobytes()

    def _share(self, array: Array) -> None:
        """Make it that of rank 0."""
        none, leads = array[:0], self.rank == 0
        send = [array if leads else none] * self.size
        receive = [none if leads or r else array for r in range(self.size)]
        self.exchange(send, receive)


def fit(
    net: Network,
    x: Any,
    y: Any,
    communicator: Communicator,
    *,
    shards: int = 8,
    epochs: int = 1,
    batch_size: int = 256,
    optimizer: str | optimizers.Optimizer | None = None,
    loss: str | losses.Loss | None = None,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | str | None = None,
    validation_split: float = 0.0,
    validation_data: Any = None,
    shuffle: bool = True,
    callbacks: Iterable[Callback] = (),
    verbose: int = 1,
    metrics: training.Metrics = (),
    train_metrics: bool = False,
) -> History:
    """Train as `Sequential.fit` does, together with the other ranks.

    Every rank calls it with the same arguments; all have the same net afterwards.
    Rank 0 decides: its callbacks are told, and what they say (to stop, a factor of the
    rate, restored weights) is what all do. The others' callbacks are not looked at.
    Callbacks may change the net when an epoch or the training ends, and `rate_factor`
    at any time. Ctrl-C on any rank ends the training on all, after the running steps.

    Where a rank fails the others raise `RankError` within the engine's time-out; MPI
    ends them. Start again from the last file of a `ModelCheckpoint`, with as many ranks
    as are left: each rank may have only a part of the net then, which can neither be
    saved nor copied nor trained. So it is while steps run, for a signal's handler.

    Parameters
    ----------
    net : Sequential
        The same on every rank: give it a seed, or `load` it.
    x, y
        All rows, on every rank: arrays, tables, memory maps, sparse matrices; no
        batches.
    communicator : Communicator
    shards : int
        Into how many parts a batch is cut. Its bits depend on this as they do on
        `batch_size`, but not on the number of ranks. At least as many as ranks, or
        some have nothing to compute; those of fewer than 32 rows are slow.
    epochs, batch_size, optimizer, loss, sample_weight, class_weight, validation_split,
    validation_data, shuffle, callbacks, verbose, metrics, train_metrics
        As in `Sequential.fit`.

    Returns
    -------
    History
        The same on every rank.

    Raises
    ------
    TypeError, ValueError
        As `Sequential.fit`; a layer whose gradient is no sum over shards (`BatchNorm`);
        on every rank, before the first step, but after the net is built: one that
        differs from rank 0 in version, dtype, number of rows, 1024 of the rows, seed,
        arguments, net, or in fused multiply-add (target sse2).
    FloatingPointError
        On every rank: a loss that is not finite, and the rank that has its rows.
    RankError
        Another rank has failed, ended, or sent nothing for too long.

    Examples
    --------
    >>> import numpy as np
    >>> import lamina as lm
    >>> class Alone(lm.distributed.Communicator):
    ...     rank, size = 0, 1
    ...     def exchange(self, send, receive): pass
    ...     def abort(self, reason): pass
    >>> x = np.linspace(-1, 1, 64).reshape(-1, 1)
    >>> net = lm.Sequential([lm.Dense(8, "tanh"), lm.Dense(1)], seed=0)
    >>> history = lm.distributed.fit(net, x, x**2, Alone(), shards=2, verbose=0)
    >>> net.steps
    1
    """
    shards = _checks.count("shards", shards)
    if y is None:
        raise TypeError("y must be given: x and y are all rows, and no batches")
    told: dict[str, Any] = {
        "epochs": epochs,
        "batch_size": batch_size,
        "validation_split": validation_split,
        "shuffle": shuffle,
        "train_metrics": train_metrics,
    }
    group = _Group(communicator, shards, told)
    leads = group.rank == 0
    try:
        for i, layer in enumerate(net.layers):
            if isinstance(layer, BatchNorm) and layer.trainable:
                raise ValueError(
                    f"layers[{i}] must not be a BatchNorm that trains, whose moments "
                    "would be those of a shard; use LayerNorm"
                )
        return training.fit(
            net,
            x,
            y,
            **told,
            optimizer=optimizer,
            loss=loss,
            sample_weight=sample_weight,
            class_weight=class_weight,
            validation_data=validation_data,
            callbacks=callbacks if leads else (),
            steps_per_epoch=None,
            validation_steps=None,
            verbose=verbose if leads else 0,
            metrics=metrics,
            precision=None,
            ema=None,
            group=group,
        )
    except BaseException as error:
        if not group.agreed and group.size > 1:
            group.abort(error)
        raise


def load(
    path: str | os.PathLike[str],
    communicator: Communicator,
    *,
    custom: Mapping[str, type] | None = None,
) -> model.Sequential:
    """As `lamina.load`, on every rank, from a file that rank 0 alone needs to have.

    Parameters
    ----------
    path : str or path
    communicator : Communicator
    custom : mapping of str to class, optional
        As in `lamina.load`.

    Returns
    -------
    Sequential

    Raises
    ------
    OSError, ValueError, TypeError, ImportError
        As `lamina.load`.
    RankError
        Rank 0 cannot read the file.
    """
    if communicator.rank == 0:
        try:
            content = Path(path).read_bytes()
        except BaseException as error:
            communicator.abort(_cause(0, error))
            raise
        communicator.broadcast(content)
        return model.load(path, custom=custom)
    content = communicator.broadcast(None)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder, "net")
        copy.write_bytes(content)
        return model.load(copy, custom=custom)


# Engines ------------------------------------------------------------------------------


def mpi(comm: Any = None, *, timeout: float = 600.0) -> Communicator:
    """The ranks of an MPI communicator, by mpi4py.

    A rank that fails says why on stderr and aborts MPI, which ends all processes.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm, optional
        By default ``MPI.COMM_WORLD``. Its duplicate is used: messages of other users
        are not mixed up with these.
    timeout : float
        Seconds to wait for a rank, which validates or runs callbacks meanwhile.

    Raises
    ------
    ImportError
        mpi4py or its MPI is not installed: ``pip install lamina[mpi]``.

    Examples
    --------
    ``mpirun -n 2 python examples/mpi_digits.py``
    """
    return _MPI(comm, _checks.positive("timeout", timeout))


def torch(group: Any = None, *, timeout: float = 600.0) -> Communicator:
    """The ranks of a process group of PyTorch, on a backend that sends arrays from
    memory (gloo).

    Parameters
    ----------
    group : torch.distributed.ProcessGroup, optional
        By default that of ``torch.distributed.init_process_group("gloo")``. Two
        trainings at once need a group each.
    timeout : float
        Seconds to wait for a rank.

    Raises
    ------
    ImportError
        torch is not installed: ``pip install torch``.
    """
    return _Torch(group, _checks.positive("timeout", timeout))


class _MPI(Communicator):
    def __init__(self, comm: Any, timeout: float) -> None:
        try:
            self._mpi = importlib.import_module("mpi4py.MPI")
        except (ImportError, RuntimeError) as error:
            raise ImportError(
                "mpi needs mpi4py and an MPI: that of the site, or pip install "
                f"lamina[mpi] ({error})"
            ) from error
        self._comm = (self._mpi.COMM_WORLD if comm is None else comm).Dup()
        self.rank, self.size = self._comm.Get_rank(), self._comm.Get_size()
        self.timeout = timeout

    def exchange(self, send: Sequence[Array], receive: Sequence[Array]) -> None:
        peers = [r for r in range(self.size) if r != self.rank]
        pending = {r: self._comm.Irecv(receive[r], r) for r in peers if receive[r].size}
        sent = [self._comm.Isend(send[r], r) for r in peers if send[r].size]
        requests = [*pending.values(), *sent]
        _wait(
            lambda: self._mpi.Request.Testall(requests),
            lambda: [r for r, each in pending.items() if not each.Test()],
            self.timeout,
        )

    def abort(self, reason: str) -> None:
        traceback.print_exc()
        print(reason, file=sys.stderr, flush=True)
        time.sleep(0.5)  # launchers drop what they have not read when all ends
        self._mpi.COMM_WORLD.Abort(1)


class _Torch(Communicator):
    def __init__(self, group: Any, timeout: float) -> None:
        try:
            self._torch = importlib.import_module("torch")
        except ImportError as error:
            raise ImportError("torch needs PyTorch: pip install torch") from error
        engine = self._engine = self._torch.distributed
        group = engine.group.WORLD if group is None else group
        self.rank, self.size = engine.get_rank(group), engine.get_world_size(group)
        self._group, self.timeout = group, timeout
        self._isend, self._irecv = engine.isend, engine.irecv
        self._names = [engine.get_global_rank(group, r) for r in range(self.size)]
        # What a rank that fails says, for which others wait when it is lost.
        # All processes make that of all, only its own members that of some.
        some = self.size < engine.get_world_size()
        self._beside = engine.new_group(self._names, use_local_synchronization=some)
        self._words = [np.zeros(_RECORD, np.uint8) for _ in range(self.size)]
        self._failing = {
            r: self._start(self._irecv, self._beside, self._words[r], r)
            for r in range(self.size)
            if r != self.rank
        }

    def _start(self, action: Any, group: Any, array: Array, rank: int) -> Any:
        tensor = self._torch.from_numpy(array)
        return action(tensor, self._names[rank], group)

    def exchange(self, send: Sequence[Array], receive: Sequence[Array]) -> None:
        began, peers = time.monotonic(), self._failing
        timeout = datetime.timedelta(seconds=self.timeout)
        pending = []
        try:
            for action, arrays in ((self._irecv, receive), (self._isend, send)):
                for rank in peers:
                    if arrays[rank].size:
                        work = self._start(action, self._group, arrays[rank], rank)
                        pending.append((rank, work))
            for rank, work in pending:  # noqa: B007 (who is waited for)
                work.wait(timeout)
        except RuntimeError as error:
            late = time.monotonic() - began >= self.timeout
            cause = f"has sent nothing for {self.timeout:g} s" if late else "is lost"
            raise RankError(self._heard(rank) or f"rank {rank} {cause}") from error

    def _heard(self, rank: int) -> str:
        """What that rank has said if it failed."""
        with contextlib.suppress(RuntimeError):
            self._failing[rank].wait(datetime.timedelta(seconds=1))
        return self._words[rank].tobytes().rstrip(b"\0").decode()

    def abort(self, reason: str) -> None:
        text = np.zeros(_RECORD, np.uint8)
        said = reason.encode()[:_RECORD]
        text[: len(said)] = np.frombuffer(said, np.uint8)
        for rank in self._failing:
            with contextlib.suppress(RuntimeError):
                work = self._start(self._isend, self._beside, text, rank)
                work.wait(datetime.timedelta(seconds=1))


def _wait(
    ready: Callable[[], bool], missing: Callable[[], list[int]], timeout: float
) -> None:
    """Until `ready` says so; RankError names the `missing` ranks after `timeout`."""
    began = time.monotonic()
    while not ready():
        waited = time.monotonic() - began
        if waited > timeout:
            late = " and ".join(map(str, missing())) or "unknown"
            raise RankError(f"rank {late} has sent nothing for {timeout:g} s")
        if waited > _PAUSE:
            time.sleep(0)


# Steps --------------------------------------------------------------------------------


Node = tuple[int, int]  # shards from the first to before the second


class _Plan:
    """Who adds what of a batch of so many shards, and where."""

    def __init__(
        self, shards: int, rank: int, slices: list[slice], gradient: Array
    ) -> None:
        size = len(slices)
        bounds = [shards * r // size for r in range(size + 1)]
        self.owners = np.repeat(np.arange(size), np.diff(bounds))
        self.root = 0, shards
        covers = [_cover(self.root, pair) for pair in itertools.pairwise(bounds)]
        self.own = covers[rank]
        dtype, mine, none = gradient.dtype, slices[rank], gradient[:0]
        self.sums = gradient.reshape(1, -1)
        if len(self.own) != 1:
            self.sums = np.empty((len(self.own), gradient.size), dtype)
        # By rank and in order: what it has added for the slice that this one adds up.
        held = [np.empty((len(c), mine.stop - mine.start), dtype) for c in covers]
        held[rank] = self.sums[:, mine]
        self.parts: dict[Node, Array] = {
            node: held[r][k] for r in range(size) for k, node in enumerate(covers[r])
        }
        self.rounds = [
            (
                [self.sums[k, s] if k < len(self.own) else none for s in slices],
                [held[r][k] if k < len(covers[r]) else none for r in range(size)],
            )
            for k in range(max(map(len, covers)))
        ]
        # Sums of left subtrees, one for each depth.
        self.spare = np.empty((shards.bit_length(), gradient.size), dtype)

    def total(self, node: Node) -> Array:
        """The sum of that part of the tree, over this rank's slice; in place."""
        if node in self.parts:
            return self.parts[node]
        left, right = _halves(node)
        total = self.total(left)
        total += self.total(right)
        return total


def _halves(node: Node) -> tuple[Node, Node]:
    low, high = node
    middle = (low + high + 1) // 2
    return (low, middle), (middle, high)


def _cover(node: Node, own: Node) -> list[Node]:
    """The largest parts of the tree that lie within those shards, in order."""
    if own[0] <= node[0] and node[1] <= own[1]:
        return [node]
    if own[1] <= node[0] or node[1] <= own[0] or node[1] - node[0] == 1:
        return []
    left, right = _halves(node)
    return _cover(left, own) + _cover(right, own)


class _Group:
    """What `training.fit` asks of the ranks: `training.Group`."""

    interrupted: list[bool]
    watched = False

    def __init__(
        self, communicator: Communicator, shards: int, told: Mapping[str, Any]
    ) -> None:
        self.communicator, self.shards, self.told = communicator, shards, told
        self.rank, self.size = communicator.rank, communicator.size
        self.agreed = False  # whether what is raised is raised on every rank
        self._plans: dict[int, _Plan] = {}
        self._buffers: dict[tuple[Any, ...], Array] = {}

    def abort(self, error: BaseException) -> None:
        self.communicator.abort(_cause(self.rank, error))

    def begin(self, net: Network, goal: losses.Loss, source: Any) -> None:
        self.net, self.goal = net, goal
        n, size = net.parameters.size, self.size
        self._slices = [slice(n * r // size, n * (r + 1) // size) for r in range(size)]
        rows = np.unique(np.linspace(0, len(source) - 1, _SAMPLE).astype(np.int64))
        x, y, weights = source.take(rows)
        seen = [x.toarray() if hasattr(x, "toarray") else x, y, weights]
        self._before = self._state()
        record = {
            "version": _core.__version__,
            "fused multiply-add": _core.get_target() != "sse2",
            "dtype": net.dtype.name,
            "rows": len(source),
            "seed": net.seed,
            "shards": self.shards,
            **self.told,
            "layers": _text(net.layers),
            "loss": _text(goal),
            "optimizer": _text(net.optimizer),
            "data": _digest(seen),
            "net": self._before,
        }
        self._compare({name: _short(str(value)) for name, value in record.items()})

    def _compare(self, record: dict[str, str]) -> None:
        """Raise the same ValueError on every rank if one differs."""
        text = json.dumps(record).encode()
        own = np.zeros(_RECORD, np.uint8)
        own[: len(text)] = np.frombuffer(text, np.uint8)
        every = self._gather(own)
        wanted = json.loads(every[0].tobytes().rstrip(b"\0"))
        for rank in range(1, self.size):
            got = json.loads(every[rank].tobytes().rstrip(b"\0"))
            for name in wanted:
                if got.get(name) != wanted[name]:
                    self.agreed = True
                    raise ValueError(
                        f"rank {rank} must have the {name} of rank 0, {wanted[name]}, "
                        f"got {got.get(name)}"
                    )

    def _gather(self, own: Array) -> list[Array]:
        """That of every rank, of one shape on all."""
        every = [np.empty_like(own) for _ in range(self.size)]
        every[self.rank] = own
        self.communicator.exchange([own] * self.size, every)
        return every

    def agree(self, value: Any) -> Any:
        """The value of rank 0, of what JSON knows."""
        given = json.dumps(value).encode() if self.rank == 0 else None
        return json.loads(self.communicator.broadcast(given))

    def complete(self) -> None:
        if self.net._parted:
            for array in (self.net.gradient, *self.net._state):
                self._spread(array)
            self.net._parted = False

    def check(self) -> None:
        """After an epoch: raise the same RuntimeError on every rank if one has another
        net."""
        self._before = self._state()
        every = self._gather(np.array([self._before]))
        for rank, digest in enumerate(every):
            if (digest != every[0]).any():
                self.agreed = True
                raise RuntimeError(
                    f"rank {rank} has not the net of rank 0 after epoch "
                    f"{self.net.epoch}: a layer, a loss or an optimizer of your own, "
                    "or a callback within an epoch, did not do the same on both"
                )

    def share(self) -> None:
        """After callbacks: all have the net that they made of rank 0's."""
        net = self.net
        changed = self.rank == 0 and self._state() != self._before
        names = "epoch", "steps", "_updates", "rate_factor"
        counts = [getattr(net, name) for name in names]
        changed, counts = self.agree([changed, counts])
        for name, value in zip(names, counts, strict=True):
            setattr(net, name, value)
        if not changed:
            return
        for array in self._arrays():
            self.communicator._share(array.reshape(-1))
        self._before = self._state()

    def _arrays(self) -> Iterator[Array]:
        """All that training changes."""
        yield self.net.parameters
        yield self.net._state
        for layer in self.net.layers:
            kept = (getattr(layer, name) for name in layer.kept)
            yield from (each for each in kept if isinstance(each, np.ndarray))

    def _state(self) -> int:
        net = self.net
        return _digest([*self._arrays(), str((net.epoch, net.steps, net._updates))])

    def steps(
        self,
        goal: losses.Loss,
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array | None,
        batch_size: int,
        before: Sums = (0.0, 0.0, 0, 0.0),
        precision: str | None = None,
    ) -> Sums:
        """As `Network._steps`, but that the net is whole only when `complete`d."""
        count = len(x) if rows is None else len(rows)
        starts, begun = range(0, count, batch_size), self.net.steps
        # Sums of every shard, and whether Ctrl-C came here.
        table = np.zeros(len(starts) * self.shards * 3 + 1)
        sums = table[:-1].reshape(len(starts), self.shards, 3)
        failed, net = None, self.net
        rule, own_part = net._rule(None), self._slices[self.rank]
        # Then each rank updates its slice and has the others' sent: of the gradient and
        # of the state when they are complete()d.
        apart = self.size > 1 and not self.watched and net._updates_apart(rule)
        if apart:
            net._parted = True
        else:
            self.complete()
        for i, start in enumerate(starts):
            part = slice(start, min(start + batch_size, count))
            if rows is None:
                own = None if weights is None else weights[part]
                self._gradient(x[part], y[part], own, None, sums[i])
            else:
                self._gradient(x, y, weights, rows[part], sums[i])
            if apart:
                net._apply(rule, own_part)
                self._spread(net.parameters)
                continue
            self._spread(net.gradient)
            try:
                net.apply_gradients()
            except FloatingPointError as error:
                failed = error
                break
        table[-1] = bool(self.interrupted)
        table = np.sum(self._gather(table), axis=0)
        if table[-1] and not self.interrupted:
            self.interrupted.append(True)
        table = table[:-1].reshape(sums.shape)
        bad = np.argwhere(~np.isfinite(table))
        if len(bad) or failed is not None:
            self.complete()
            self.agreed = True
        if len(bad):
            step, shard, _ = bad[0].tolist()
            plan = self._plan(min(self.shards, count - starts[step]))
            raise FloatingPointError(
                f"rank {plan.owners[shard]}: the loss of its rows is "
                f"{table[step, shard, 0]} in step {begun + step + 1}; look for data or "
                "weights that are too large, or a learning rate that is too high"
            ) from failed
        if failed is not None:
            raise failed
        total = np.array([before[0], before[1], before[3]])
        for each in table:  # one step after the other, on every rank the same
            own = np.zeros(3)
            for row in each:
                own += row
            total += own
        loss, correct, penalty = total.tolist()
        return loss, correct, before[2] + count, penalty

    def _plan(self, shards: int) -> _Plan:
        if shards not in self._plans:
            self._plans[shards] = _Plan(
                shards, self.rank, self._slices, self.net.gradient
            )
        return self._plans[shards]

    def _gradient(
        self,
        x: Array,
        y: Array,
        weights: Array | None,
        rows: Array | None,
        sums: Array,
    ) -> None:
        """Fill this rank's slice of `net.gradient`, and `sums` of the own shards."""
        net, gradient = self.net, self.net.gradient
        n = len(x) if rows is None else len(rows)
        plan = self._plan(min(self.shards, n))
        at_once = net._adds_shards(self.goal, x, n // plan.root[1])

        def take(start: int, stop: int) -> list[Any]:
            part = slice(start, stop) if rows is None else rows[start:stop]
            return [self._take(i, a, part) for i, a in enumerate((x, y, weights))]

        def fill(shard: int, accumulate: bool) -> None:
            start, stop = (n * i // plan.root[1] for i in (shard, shard + 1))
            own = [*take(start, stop), (stop - start) / n, start, accumulate]
            sums[shard] = net._fill(self.goal, *own)

        def add(node: Node, depth: int = 0) -> None:
            """Leave the sum of that part of the tree in the gradient."""
            low, high = node
            if high - low > 1 and at_once:
                borders = [n * i // plan.root[1] for i in range(low, high + 1)]
                own = *take(borders[0], borders[-1]), n, borders
                sums[low:high] = net._fill_shards(self.goal, *own)
                return
            if high - low <= 2:
                for shard in range(low, high):
                    fill(shard, shard > low)
                return
            left, right = _halves(node)
            spare = plan.spare[depth]
            add(left, depth + 1)
            spare[...] = gradient
            add(right, depth + 1)
            np.add(spare, gradient, out=gradient)

        for node, out in zip(plan.own, plan.sums, strict=True):
            add(node)
            if len(plan.own) > 1:
                out[...] = gradient
        for send, receive in plan.rounds:
            self.communicator.exchange(send, receive)
        total = plan.total(plan.root)
        if not np.may_share_memory(total, gradient):  # it may lie there
            gradient[self._slices[self.rank]] = total

    def _spread(self, array: Array) -> None:
        """Fill the slices of the other ranks by what they have there."""
        own = array[self._slices[self.rank]]
        self.communicator.exchange([own] * self.size, [array[s] for s in self._slices])

    def _take(self, which: int, array: Any, rows: slice | Array) -> Any:
        """Those rows, in memory that is taken once."""
        if not isinstance(array, np.ndarray) or isinstance(rows, slice):
            return array if array is None else array[rows]
        key = which, len(rows)
        if key not in self._buffers:
            shape = len(rows), *array.shape[1:]
            self._buffers[key] = np.empty(shape, array.dtype).view(type(array))
        return np.take(array, rows, axis=0, out=self._buffers[key], mode="clip")


def _cause(rank: int, error: BaseException) -> str:
    """What the others are told."""
    if isinstance(error, RankError):
        return str(error)
    last = traceback.format_exception_only(error)[-1].strip()
    return f"rank {rank}: {last}"


def _text(value: object) -> str:
    """How it is written, without where it lies."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _short(text: str) -> str:
    """All of it, or its beginning and a number that tells it from others."""
    return text if len(text) <= 200 else f"{text[:200]}... ({_digest([text]):08x})"


def _digest(parts: Iterable[Any]) -> int:
    """A checksum: it is to find accidents, and a state may be large."""
    found = 0
    for part in parts:
        if isinstance(part, np.ndarray):
            part = np.ascontiguousarray(part).reshape(-1).view(np.uint8).data
        else:
            part = str(part).encode()
        found = zlib.crc32(part, found)
    return found
