"""Train briefly on third-party environments, each with the command that a user would type.

`make third-party` installs the packages of `third_party.txt` into a separate virtual environment and runs this file
there. A row passes if `policygrad train` exits with status 0.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import time
from fnmatch import fnmatch

STEPS, SECONDS = "600", 300

COMMANDS = """
minigrid:MiniGrid-Empty-5x5-v0
minigrid:BabyAI-GoToLocal-v0
highway_env:highway-fast-v0
highway_env:parking-v0
panda_gym:PandaReach-v3
popgym:popgym-PositionOnlyCartPoleEasy-v0
popgym:popgym-RepeatPreviousEasy-v0
popgym:popgym-MineSweeperEasy-v0
gymnasium_2048:gymnasium_2048/TwentyFortyEight-v0
flappy_bird_gymnasium:FlappyBird-v0 --env-kwargs use_lidar=False
nle:NetHackScore-v0
minihack:MiniHack-Room-5x5-v0
gym_electric_motor:Finite-CC-PMSM-v0
gym_electric_motor:Cont-CC-PermExDc-v0
ale_py:ALE/Breakout-v5 --env-kwargs obs_type=ram
ale_py:ALE/Pong-v5 --env-kwargs obs_type=ram
gym_pusht:gym_pusht/PushT-v0
mo_gymnasium:minecart-v0 --wrap third_party_wrappers:weighed
gym_anytrading:stocks-v0
third_party_wrappers:make_trading
gymnasium_search_race:gymnasium_search_race/SearchRaceDiscrete-v3
tetris_gymnasium.envs:tetris_gymnasium/Tetris
gymnasium_cartpole_swingup:CartPoleSwingUp-v0
gymnasium_snake_game:Snake-v1
pgtg:pgtg-v5
or_gymnasium:Knapsack-v0
or_gymnasium:Newsvendor-v0
gym_invmgmt:GymInvMgmt/Serial-v0
gym_simplegrid:SimpleGrid-8x8-v0
buffalo_gym:Buffalo-v0
mazegym:Maze5x5Fixed-v0
numberlink:NumberLinkRGB-v0
glucosim:glucosim/BasalControl-v0
pybullet_envs_gymnasium:HopperBulletEnv-v0
quoridor_sim:Quoridor-v0
safety_gridworlds_gymnasium:safety_gridworlds/IslandNavigation-v0
""".strip().splitlines()
"""Arguments of `policygrad train`: an id with its module, or a factory, and the options that it needs."""

QUIET = {"PYGAME_HIDE_SUPPORT_PROMPT": "1", "SDL_VIDEODRIVER": "dummy", "PYGLET_HEADLESS": "1"}


def train(command: str) -> tuple[bool, str]:
    """Train briefly; return True if it succeeded, and the steps per second or the last line of the error."""
    quick = ["--algo", "ppo", "--horizon", "64", "--steps", STEPS, "--num-envs", "2", "--episodes", "2"]
    done = subprocess.run(
        [sys.executable, "-m", "policygrad", "train", *command.split(), *quick, "--max-episode-steps", "300"],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        env=os.environ | QUIET,
        cwd=os.path.dirname(os.path.abspath(__file__)),
    )
    speed = re.search(r"steps/s, learning included\s*│\s*([\d,]+)", done.stdout)
    lines = done.stderr.strip().splitlines() or [""]
    return done.returncode == 0, f"{speed.group(1)} steps/s" if speed else lines[-1]


def main() -> int:
    """Run the requested rows; return 1 if any of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="*", help="pattern of the rows to run")
    failed = 0
    for command in (c for c in COMMANDS if fnmatch(c, parser.parse_args().only)):
        began = time.perf_counter()
        try:
            succeeded, message = train(command)
        except subprocess.TimeoutExpired:
            succeeded, message = False, f"took more than {SECONDS} s"
        failed += not succeeded
        print(
            f"{'ok    ' if succeeded else 'FAILED'} {time.perf_counter() - began:5.1f} s  {command}: {message}",
            flush=True,
        )
    print(f"{failed} of {len(COMMANDS)} failed" if failed else "all succeeded")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main())
