"""What every test file shares: the targets of this machine, by name."""

from collections.abc import Iterator

import pytest

import lamina as lm

TARGETS = lm.show_config()["targets_available"]


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
