"""A study on a Ray cluster of this machine has the same results as without Ray. It needs policygrad[ray]."""

from importlib.util import find_spec

import policygrad as pg

options = {"seeds": 2, "steps": 2_000, "num_envs": 4, "episodes": 10}
here = pg.study("CartPole-v1", "a2c", out="studies/here", resume=True, **options)
print(here.cells[0].scores("greedy"))

if find_spec("ray") is None:
    print("run pip install 'policygrad[ray]' to train the same study on a cluster")
else:
    # the address of a running cluster, such as 10.0.0.7:6379, spreads the runs over its nodes
    there = pg.study("CartPole-v1", "a2c", out="studies/there", resume=True, on="ray", **options)
    print(there.cells[0].scores("greedy"))
    assert there.cells[0].scores("greedy") == here.cells[0].scores("greedy")
