"""A third engine for `lamina.distributed`, over pairs of sockets: ranks are threads of
one process, or processes that `main` runs a scenario in."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

import lamina as lm
from lamina._checks import Array
from lamina.distributed import Communicator, RankError

_FAILED = 1 << 62  # in place of a length: text follows


class Sockets(Communicator):
    """Each message is its length, then its bytes."""

    def __init__(self, rank: int, peers: dict[int, socket.socket], timeout: float = 5):
        self.rank, self.size, self.peers = rank, len(peers) + 1, peers
        self.timeout = timeout
        self.exchanges = 0
        for each in peers.values():
            each.setblocking(False)

    def exchange(self, send: Sequence[Array], receive: Sequence[Array]) -> None:
        self.exchanges += 1
        to: dict[int, list[memoryview]] = {}
        into: dict[int, list[memoryview]] = {}
        for rank in self.peers:
            if send[rank].size:
                head = np.array([send[rank].nbytes], np.uint64)
                to[rank] = [_bytes(head), _bytes(send[rank])]
            if receive[rank].size:
                head = np.zeros(1, np.uint64)
                into[rank] = [_bytes(head), _bytes(receive[rank])]
        deadline = time.monotonic() + self.timeout
        with selectors.DefaultSelector() as selector:
            while to or into:
                for key in list(selector.get_map().values()):
                    selector.unregister(key.fileobj)
                for rank, peer in self.peers.items():
                    events = (rank in into) * selectors.EVENT_READ
                    events |= (rank in to) * selectors.EVENT_WRITE
                    if events:
                        selector.register(peer, events, rank)
                ready = selector.select(max(0, deadline - time.monotonic()))
                if not ready:
                    late = ", ".join(map(str, into or to))
                    raise RankError(
                        f"rank {late} has sent nothing for {self.timeout:g} s"
                    )
                for key, events in ready:
                    if events & selectors.EVENT_READ:
                        self._read(key.data, into)
                    if events & selectors.EVENT_WRITE:
                        self._write(key.data, to)

    def _read(self, rank: int, into: dict[int, list[memoryview]]) -> None:
        parts = into[rank]
        try:
            count = self.peers[rank].recv_into(parts[0])
        except OSError as error:
            raise RankError(f"rank {rank} has ended: {error}") from error
        if not count:
            raise RankError(f"rank {rank} has ended")
        full, parts[0] = count == len(parts[0]), parts[0][count:]
        if not full:
            return
        if len(parts) == 2:
            length = int(np.asarray(parts[0].obj).view(np.uint64)[0])
            if length == _FAILED:
                self.peers[rank].settimeout(1)
                with contextlib.suppress(OSError):
                    raise RankError(self.peers[rank].recv(1 << 16).decode())
            assert length == len(parts[1]), "the ranks are not in step"
        del parts[0]
        if not parts:
            del into[rank]

    def _write(self, rank: int, to: dict[int, list[memoryview]]) -> None:
        parts = to[rank]
        try:
            count = self.peers[rank].send(parts[0])
        except OSError:  # it is gone; what it has said comes by reading
            del to[rank]
            return
        parts[0] = parts[0][count:]
        if not parts[0]:
            del parts[0]
        if not parts:
            del to[rank]

    def abort(self, reason: str) -> None:
        head = np.array([_FAILED], np.uint64).tobytes()
        for peer in self.peers.values():
            peer.settimeout(1)
            with contextlib.suppress(OSError):
                peer.sendall(head + reason.encode())
            peer.close()


def _bytes(array: Array) -> memoryview:
    assert array.flags.c_contiguous
    return array.reshape(-1).view(np.uint8).data


def mesh(size: int) -> list[dict[int, socket.socket]]:
    """For each rank its sockets to the others."""
    ends: list[dict[int, socket.socket]] = [{} for _ in range(size)]
    for a in range(size):
        for b in range(a):
            ends[a][b], ends[b][a] = socket.socketpair()
    return ends


@contextlib.contextmanager
def connected(size: int) -> Iterator[list[Sockets]]:
    """One for each rank."""
    made = [Sockets(rank, ends) for rank, ends in enumerate(mesh(size))]
    try:
        yield made
    finally:
        for each in made:
            for peer in each.peers.values():
                peer.close()


def together(
    size: int, work: Callable[[Communicator], Any], *, fails: bool = False
) -> list[Any]:
    """What `work` returns on each rank, or raises if it `fails`; a thread for each."""
    results: list[Any] = [None] * size

    def run(rank: int) -> None:
        try:
            with lm.threads(1):
                results[rank] = work(communicators[rank])
        except BaseException as error:
            results[rank] = error

    with connected(size) as communicators:
        threads = [
            threading.Thread(target=run, args=(r,), name=f"rank {r}")
            for r in range(size)
        ]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    errors = [each for each in results if isinstance(each, BaseException)]
    if errors and not fails:
        raise errors[0]
    return results


@contextlib.contextmanager
def processes(
    size: int, *arguments: str, targets: Sequence[str] = ()
) -> Iterator[list[subprocess.Popen[str]]]:
    """The scenario of that name in `tests/ranks.py`, on as many processes."""
    ends, started = mesh(size), []
    for rank in range(size):
        numbers = {r: each.fileno() for r, each in ends[rank].items()}
        command = [sys.executable, "-W", "ignore", __file__, *arguments]
        command += ["sockets", str(rank), json.dumps(numbers)]
        environment = os.environ | {"LAMINA_NUM_THREADS": "1"}
        if targets:
            environment["LAMINA_TARGET"] = targets[rank]
        started.append(
            subprocess.Popen(
                command,
                pass_fds=list(numbers.values()),
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                env=environment,
            )
        )
    for each in ends:
        for peer in each.values():
            peer.close()
    try:
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


# What a process does ------------------------------------------------------------------

STEPS, EPOCHS = 4, 3  # in an epoch, in all
FAILING, STEP = 1, 6  # the rank that fails, and when


def rows(rank: int, fault: str) -> tuple[Array, Array]:
    random = np.random.default_rng(1)
    x = random.normal(size=(128, 4))
    y = x[:, :1] * x[:, 1:2]
    short = 1 if fault == "short" and rank == FAILING else 0
    return x[: 128 - short], y[: 128 - short]


class Faulty(lm.Layer):
    """Lets everything through, until it fails on one rank."""

    def __init__(self, fault: str = "", rank: int = 0) -> None:
        super().__init__()
        self.fault, self.rank, self.passes = fault, rank, 0

    def config(self) -> dict[str, Any]:
        return {}

    def forward(self, x: Any, training: bool = False) -> Any:
        x = self.take(x)
        self.keep(x, training)
        self.__dict__["passes"] += training
        if self.rank != FAILING or self.passes != STEP:
            return x
        if self.fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if self.fault == "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.fault == "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        if self.fault == "raise":
            raise ValueError("of my own")
        if self.fault == "exit":
            sys.exit(3)
        return x * np.nan if self.fault == "nan" else x

    def backward(self, dy: Any, *, input_gradient: bool = True) -> Any:
        dy, _ = self.recall(dy)
        return dy


class FullDisk(lm.callbacks.Callback):
    """From the second epoch on no file may grow."""

    def on_epoch_begin(self, net: Any, epoch: int, rows: int | None) -> None:
        if epoch == 2:
            import resource

            most = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (512, most))


def net(fault: str = "", rank: int = 0) -> lm.Sequential:
    return lm.Sequential(
        [Faulty(fault, rank), lm.Dense(9, "tanh"), lm.Dense(1)], seed=1
    )


def train(
    made: lm.Sequential, communicator: Communicator, fault: str, path: str, epochs: int
) -> None:
    x, y = rows(communicator.rank, fault)
    told: list[lm.callbacks.Callback] = [lm.callbacks.ModelCheckpoint(path)]
    told = [FullDisk(), *told] if fault == "disk" else told
    options: dict[str, Any] = {"batch_size": 128 // STEPS, "shards": 3, "verbose": 0}
    lm.distributed.fit(
        made, x, y, communicator, epochs=epochs, callbacks=told, **options
    )


def sockets(rank: str, ends: str) -> Sockets:
    numbers = json.loads(ends).items()
    peers = {int(r): socket.socket(fileno=number) for r, number in numbers}
    return Sockets(int(rank), peers)


def mpi() -> Communicator:
    return lm.distributed.mpi()


def torch() -> Communicator:
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    return lm.distributed.torch()


def half() -> Communicator:
    """Of four processes the first two; the others have ended."""
    import torch.distributed as engine

    os.environ["TORCH_DIST_INIT_BARRIER"] = "1"  # groups wait for who has to make them
    engine.init_process_group("gloo")
    first = engine.new_group([0, 1])
    if engine.get_rank() > 1:
        engine.destroy_process_group()
        sys.exit()
    return lm.distributed.torch(first)


def main(fault: str, path: str, engine: str, *arguments: str) -> None:
    communicator: Any = globals()[engine](*arguments)
    communicator.timeout = 60.0
    communicator.broadcast(b"")  # all have started
    if fault == "stop":
        communicator.timeout = 3.0
    if fault == "resume":
        made = lm.distributed.load(path, communicator, custom={"Faulty": Faulty})
    else:
        made = net(fault, communicator.rank)
    try:
        train(made, communicator, fault, path, EPOCHS - made.epoch)
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        sys.exit(1)
    assert made.history is not None
    print(made.history.stopped, bits(made).hex())
    if engine in ("torch", "half"):
        sys.modules["torch"].distributed.destroy_process_group()


def bits(made: lm.Sequential) -> bytes:
    """What has been trained."""
    digest = hashlib.sha256()
    for array in (made.parameters, made._state):
        digest.update(array.tobytes())
    return digest.digest()


if __name__ == "__main__":
    main(*sys.argv[1:])
