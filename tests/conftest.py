"""What every test file shares: the targets of this machine, by name."""

import signal
import sys
import sysconfig
from collections.abc import Iterator, Sequence

import pytest

import lamina as lm

TARGETS = lm.show_config()["targets_available"]


class Absent:
    """On a free-threaded Python, asked for what no other finder has: tests and files of
    them that import these packages, which have no wheels for it, are skipped."""

    packages = ("numba", "onnx", "optuna", "polars", "safetensors")

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: object = None
    ) -> None:
        if name in self.packages:
            pytest.skip(f"no {name} for this Python", allow_module_level=True)


if sysconfig.get_config_var("Py_GIL_DISABLED"):
    sys.meta_path.append(Absent())


def pytest_configure(config: pytest.Config) -> None:
    """Interrupts, which tests send, are heard even where a shell had this process
    ignore them, as it does in the background. Where pytest-run-parallel runs each test
    in several threads, one thread runs what is set, measured or signalled in the whole
    process, or waits for another one."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if config.pluginmanager.hasplugin("run-parallel"):
        config.addinivalue_line("thread_unsafe_fixtures", "target")
        for function in (
            "lamina.set_target",
            "lamina.set_num_threads",
            "threadpoolctl.threadpool_limits",
            "tracemalloc.start",
            "ctypes.CDLL",
            "threading.Timer",
            "subprocess.run",
        ):
            config.addinivalue_line("thread_unsafe_functions", function)


def pytest_report_header() -> str:
    return " ".join(f"{key}={value}" for key, value in lm.show_config().items())


@pytest.fixture(params=TARGETS)
def target(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each target that this machine runs, active during the test."""
    before = lm.show_config()["target"]
    lm.set_target(request.param)
    yield request.param
    lm.set_target(before)


@pytest.fixture(autouse=True)
def _same_target_afterwards() -> Iterator[None]:
    """Tests that go through the targets themselves leave the default behind."""
    before = lm.show_config()["target"]
    yield
    lm.set_target(before)
