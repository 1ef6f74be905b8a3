"""One run that two actors share has the same results as without them, here and on a Ray cluster."""

from importlib.util import find_spec

import policygrad as pg

options = {"steps": 10_000, "num_envs": 16, "select": False, "loop": "python"}
alone = pg.train("CartPole-v1", "ppo", **options)
shared = pg.train("CartPole-v1", "ppo", actors=2, **options)
print(f"alone {alone.best_mean}, with two actors {shared.best_mean}")
assert shared.episode_returns.tolist() == alone.episode_returns.tolist()

if find_spec("ray") is None:
    print("run pip install 'policygrad[ray]' to place the actors on a cluster")
else:
    # the address of a running cluster, such as 10.0.0.7:6379, places them on its nodes
    elsewhere = pg.train("CartPole-v1", "ppo", actors=2, on="ray", **options)
    print(f"on a cluster {elsewhere.best_mean}")
    assert elsewhere.episode_returns.tolist() == alone.episode_returns.tolist()
