"""Every preset fits its environment: one update of each."""

from __future__ import annotations

from importlib.util import find_spec

import numpy as np
import pytest

import policygrad as pg
from policygrad.envs.make import KERNELS
from policygrad.presets import PRESETS
from tests.helpers import history_rows

ALL = [(env, algorithm) for env, presets in PRESETS.items() for algorithm in presets]


@pytest.mark.parametrize(("env", "algorithm"), ALL, ids=[f"{env}-{algorithm}" for env, algorithm in ALL])
def test_every_preset_makes_an_update(env: str, algorithm: str):
    if env not in KERNELS and find_spec("envpool") is None:
        pytest.skip("these environments need EnvPool")
    run = pg.train(env, algorithm, steps=1, cores=1, progress=False)
    assert run.engine == "fused"
    row = history_rows(run)[0]
    assert all(np.isfinite(row[name]) for name in ("entropy", "policy_grad_norm", "explained_variance"))
