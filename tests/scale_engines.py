"""`lamina.distributed` over MPI and over PyTorch's process groups: the same bits as in
one process, and every fault. `make test-scale` runs this."""

from __future__ import annotations

import importlib.util
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import ranks
from ranks import bits, together

Engine = Callable[[int, str, Path], subprocess.CompletedProcess[str]]
HERE = [sys.executable, "-W", "ignore", ranks.__file__]
ALONE = os.environ | {"LAMINA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


def mpirun(size: int, fault: str, path: Path) -> subprocess.CompletedProcess[str]:
    launcher = Path(sys.executable).with_name("mpirun")
    command = [str(launcher), "-n", str(size), *HERE, fault, str(path), "mpi"]
    return subprocess.run(
        command, env=ALONE, timeout=100, capture_output=True, text=True, check=False
    )


def torchrun(
    size: int, fault: str, path: Path, engine: str = "torch"
) -> subprocess.CompletedProcess[str]:
    """Processes as `torchrun` starts them, but that none ends the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    place |= {"WORLD_SIZE": str(size)}
    started = [
        subprocess.Popen(
            [*HERE, fault, path, engine],
            env=ALONE | place | {"RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]
    said = told = ""
    code = 0
    for rank, process in enumerate(started):
        if fault == "stop" and rank == ranks.FAILING:
            continue
        out, err = process.communicate(timeout=100)
        said, told, code = said + out, told + err, code or process.returncode
    if fault == "stop":
        started[ranks.FAILING].kill()
        started[ranks.FAILING].communicate()
    return subprocess.CompletedProcess([], code, said, told)


ENGINES: list[Engine] = [mpirun]
if importlib.util.find_spec("torch") is not None:
    ENGINES.append(torchrun)


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What one process trains."""
    whole, path = ranks.net(), tmp_path_factory.mktemp("alone") / "net"
    together(1, lambda own: ranks.train(whole, own, "", str(path), ranks.EPOCHS))
    return bits(whole).hex()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("size", [1, 2, 3, 4])
def test_the_same_net_on_any_number_of_ranks(
    engine: Engine, size: int, alone: str, tmp_path: Path
) -> None:
    done = engine(size, "", tmp_path / "net")
    assert done.stdout.count(alone) == size, done.stderr  # lines of ranks may mix


@pytest.mark.skipif(torchrun not in ENGINES, reason="no torch for this Python")
def test_a_group_of_some_processes_does_not_wait_for_the_others(
    alone: str, tmp_path: Path
) -> None:
    done = torchrun(4, "", tmp_path / "net", "half")
    assert done.stdout.count(alone) == 2, done.stderr
    assert done.returncode == 0


CAUSES = {
    "kill": "",  # the launcher's own words
    "stop": "rank 1 has sent nothing for 3 s",
    "raise": "rank 1: ValueError: of my own",
    "exit": "rank 1: SystemExit: 3",
    "nan": "rank 1: the loss of its rows is nan in step 6",
    "disk": "rank 0: OSError: [Errno 27] File too large",
    "short": "rank 1 must have the rows of rank 0, 128, got 127",
}
LOST: dict[Engine, str] = {
    mpirun: "signal: Killed|signal 9",
    torchrun: "rank 1 is lost",
}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("fault", CAUSES)
def test_a_fault_ends_all_with_its_cause_and_the_last_checkpoint_resumes(
    engine: Engine, fault: str, alone: str, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    done = engine(3, fault, path)
    assert done.returncode != 0
    cause = re.escape(CAUSES[fault]) or LOST[engine]
    assert re.search(cause, done.stderr + done.stdout), done.stderr
    if fault == "short":
        assert not path.exists()
        return
    resumed = engine(2, "resume", path)
    assert resumed.stdout.count(alone) == 2, resumed.stderr


@pytest.mark.parametrize("engine", ENGINES)
def test_control_c_on_one_rank_ends_the_training_on_all(
    engine: Engine, tmp_path: Path
) -> None:
    done = engine(3, "interrupt", tmp_path / "net")
    assert done.stdout.count("interrupt") == 3, done.stderr
    assert done.returncode == 0
