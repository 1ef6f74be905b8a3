"""Every preset fits its environment: one update of each, by whoever runs the environment here."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import policygrad as pg
from policygrad.envs.make import KERNELS
from policygrad.presets import PRESETS
from tests.conftest import rows_of

ALL = [(env, algorithm) for env, presets in PRESETS.items() for algorithm in presets]


@pytest.mark.parametrize(("env", "algorithm"), ALL, ids=[f"{env}-{algorithm}" for env, algorithm in ALL])
def test_one_update(env: str, algorithm: str):
    if env not in KERNELS and find_spec("envpool") is None:
        pytest.skip("its environments are EnvPool's")
    run = pg.train(env, algorithm, steps=1, cores=1, progress=False)
    assert run.engine == "fused"
    row = rows_of(run)[0]
    assert all(np.isfinite(row[name]) for name in ("entropy", "policy_grad_norm", "explained_variance"))
