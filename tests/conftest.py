"""Fixtures of all tests: one thread, no global randomness, and no files in the checkout."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from policygrad._support.threads import single_thread


def pytest_configure() -> None:
    # the tests have a process on every core, and threads of torch in each would wait for one another
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def global_randomness_is_left_alone(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail if a test draws from NumPy's or torch's global generator without the marker `draws_globally`."""
    before = _global_states()
    yield
    if "draws_globally" not in request.keywords:
        assert _global_states() == before


@pytest.fixture(autouse=True, scope="session")
def files_of_simulators_go_elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Run the tests in a temporary folder, because MuJoCo writes its warnings to the working directory."""
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("working directory"))
    yield
    os.chdir(before)


@pytest.fixture
def one_thread() -> Iterator[None]:
    """Enter `single_thread` once, so that each call of an engine does not have to."""
    with single_thread():
        yield


def _global_states() -> tuple[object, ...]:
    kind, keys, *rest = np.random.get_state()  # noqa: NPY002
    return kind, keys.tobytes(), *rest, torch.get_rng_state().numpy().tobytes()
