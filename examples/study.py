"""Is a smaller network better? A study with ten seeds each, a comparison, a plot and a report of one page."""

import policygrad as pg

study = pg.study(
    "CartPole-v1",
    {
        "two layers of 64": {"algorithm": "ppo", "hidden": (64, 64)},
        "one layer of 16": {"algorithm": "ppo", "hidden": (16,)},
    },
    seeds=10,
    steps=20_000,
    out="studies/network",
    resume=True,  # the same call completes a study that was interrupted
)
for row in [study.headings(), *study.table()]:
    print(" | ".join(row))
comparison = study.compare("two layers of 64", "one layer of 16")
print(comparison)
study.plot().savefig("studies/network/curves.png")
print(f"open {pg.report(study.path)} in a browser")

# a run that did not learn enough may say why
worst = min(study.runs, key=lambda run: run.scores["greedy"]["mean"])
for finding in pg.diagnose(worst.path):
    print(worst.path.name, "|", finding)
