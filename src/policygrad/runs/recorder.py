"""Recording a training: from its iterations to a run with a history, a best policy and files."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import deepcopy

from policygrad._support.state import unpack
from policygrad.errors import NonFiniteError
from policygrad.evaluation import Candidate, Candidates, Selection
from policygrad.policies import Policy, Snapshot
from policygrad.runs.curves import drawing_may_fail, save_curve
from policygrad.runs.diagnosis import findings
from policygrad.runs.folder import SUMMARY, RunFolder
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Progress, Silent
from policygrad.runs.run import Ending, Run, StoppedError
from policygrad.training import WINDOW, Iteration
from policygrad.types import State


class Recorder:
    """Turns a stream of iterations into a run: its history, its best policy, its files, its display.

    Args:
        run: to be filled.
        display: what shows how far it is.
        interruption: tells, between iterations, whether somebody wants the run to end.
        stop: end when it is solved.
        select: chooses between policies when the run is over, the likeliest first; None takes that one.
        state: where the training stands, for checkpoints; asked between iterations.
    """

    def __init__(
        self,
        run: Run,
        display: Progress,
        interruption: Interruption,
        *,
        stop: bool,
        select: Callable[[Run, list[Snapshot]], Selection | None] | None = None,
        state: Callable[[], State],
    ) -> None:
        self._run = run
        self.folder: RunFolder | None = None
        """Where the run is saved."""
        self._display = display
        self._interruption = interruption
        self._stop = stop
        self._state = state
        self._select = select
        self._acted = run.last_policy.snapshot()
        self._candidates = Candidates()
        self._candidates.only(Candidate(self._acted, -math.inf, 0))
        self._window_full = False

    def state(self) -> State:
        """All that has been recorded, but for the rows, and where the training stands."""
        run = self._run
        return {
            "training": self._state(),
            "rows": len(run.updates),
            "candidates": self._candidates.state(),
            "window full": self._window_full,
            "episodes": run.episodes.state(),
        }

    def restore(self, state: State) -> State:
        """Go on recording from that state, the rows aside; returns where the training stood."""
        training, _, candidates, self._window_full, episodes = unpack(
            state, "training", "rows", "candidates", "window full", "episodes"
        )
        run = self._run
        self._candidates.restore(candidates)
        run.best_mean = self._candidates.entries[0].mean
        run.episodes.restore(episodes)
        return training

    def restore_rows(self, rows: Iterable[dict[str, float]]) -> None:
        """And the history until then, once the training stands where it stood."""
        self._acted = self._run.last_policy.snapshot()
        run, threshold = self._run, self._run.threshold
        for row in rows:
            run.updates.append(row)
            # by the threshold of now, which may be another than it was
            solved = threshold is not None and row["episodes"] >= WINDOW and row["return_100"] >= threshold
            self._note_if_solved(row, solved)
        if run.updates:
            self._display.update(run.updates.latest)

    def record(self, loop: Iterable[Iteration]) -> Run:
        """Consume the loop to its end, however it ends, and finish the run."""
        with self._interruption.saving:
            return self._record(iter(loop))

    def _record(self, loop: Iterator[Iteration]) -> Run:
        run, folder = self._run, self.folder
        try:
            if folder is not None and not run.updates:
                # so that a run can be gone on with from its first moment
                folder.save_checkpoint(self.state, now=True)
            while not self._interruption.asked:
                with self._interruption.learning:
                    iteration = next(loop, None)
                if iteration is None:
                    break
                self._take(iteration)
                if self._stop and iteration.solved:
                    run.ended = "stop_at"
                    break
            else:
                run.ended = "interrupted"
            if folder is not None:
                folder.save_checkpoint(self.state, now=True)
        except KeyboardInterrupt:
            # in the middle of an update, where nothing is consistent: the last checkpoint remains
            run.ended = "interrupted"
        except NonFiniteError as error:
            self._finish("non-finite")
            raise StoppedError(run, str(error)) from error
        except BaseException as error:
            # an environment that crashes, or exits, must not take what was learned with it
            try:
                self._finish("error")
            except Exception as another:
                warnings.warn(f"what was learned could not be saved: {another}", RuntimeWarning, stacklevel=2)
            with suppress(AttributeError):
                error.run = run  # pyright: ignore[reportAttributeAccessIssue]
            raise
        return self._finish(run.ended)

    def _take(self, iteration: Iteration) -> None:
        run, row = self._run, iteration.metrics
        self._acted = iteration.acted
        run.updates.append(row)
        run.episodes.extend(iteration.returns, run.steps)
        self._note_if_solved(row, iteration.solved)
        # a mean over fewer than the window is luck: until it is full the latest counts, and then the best of
        # those that an episode has just spoken for
        candidate = Candidate(iteration.acted, row["return_100"], int(row["episodes"]))
        if not self._window_full:
            self._candidates.only(candidate)
        elif len(iteration.returns) > 0:
            self._candidates.offer(candidate)
        self._window_full = row["episodes"] >= WINDOW
        run.best_mean = self._candidates.entries[0].mean
        if self.folder is not None:
            self.folder.log(row, iteration.returns)
            if self._candidates.entries[0] is candidate:
                self.folder.save_best(self._best_policy)
            self.folder.save_checkpoint(self.state)
        self._display.update(row)

    def _note_if_solved(self, row: dict[str, float], solved: bool) -> None:
        if solved and self._run.solved_at is None:
            self._run.solved_at, self._run.solved_seconds = int(row["steps"]), row["seconds"]

    def _best_policy(self, snapshot: Snapshot | None = None) -> Policy:
        best = deepcopy(self._run.last_policy)
        best.restore(self._candidates.entries[0].snapshot if snapshot is None else snapshot)
        return best

    def _select_best(self) -> None:
        """Take the candidate that scores best, and the way of acting that scored better."""
        run = self._run
        snapshots = [entry.snapshot for entry in self._candidates.entries] + [run.last_policy.snapshot()]
        if self._select is not None and run.updates:
            try:
                with self._interruption.opening:
                    run.selection = self._select(run, snapshots)
            except KeyboardInterrupt:
                run.ended = "interrupted"
                self._display.say("interrupted: the best policy is the one of the best training returns")
            except (Exception, SystemExit) as error:
                warnings.warn(
                    f"scoring the best policies raised {type(error).__name__}: {error}. The best policy is the one of "
                    "the best training returns; select=False (--no-select) leaves scoring out",
                    RuntimeWarning,
                    stacklevel=2,
                )
        if run.selection is None:
            run.policy = self._best_policy()
            return
        run.policy = self._best_policy(snapshots[run.selection.chosen])
        run.policy.greedy = run.selection.greedy
        run.last_policy.greedy = run.selection.greedy

    def _finish(self, ended: Ending) -> Run:
        # once more, for an exception may have come out of the middle of a change of phases
        with self._interruption.saving:
            return self._finished(ended)

    def _finished(self, ended: Ending) -> Run:
        run, folder = self._run, self.folder
        if ended in ("budget", "stop_at") and self._interruption.signaled:
            ended = "interrupted"
        if ended == "non-finite":
            # the parameters at the end may be what made the NaN; those that last acted did not
            run.last_policy.restore(self._acted)
        run.ended = ended
        if ended in ("budget", "stop_at"):
            self._select_best()
        else:
            run.policy = self._best_policy()
        run.findings = findings(run.history)
        for finding in run.findings:
            if type(self._display) is Silent:
                warnings.warn(finding, stacklevel=4)
            self._display.say(finding)
        if folder is None:
            return run
        folder.save_policies(run.policy, run.last_policy)
        folder.write_json(SUMMARY, run.summary())
        if run.episodes and folder.alone:
            with drawing_may_fail():
                save_curve(
                    folder.path / "curve.png",
                    run.history,
                    (run.episode_steps, run.episode_returns),
                    run.environment,
                    run.threshold,
                    run.solved_at,
                )
        kept = folder.close(discard=not run.updates, keep_replaced=ended in ("error", "non-finite"))
        if kept is not None:
            self._display.say(f"the run that was at {run.out} before is now at {kept}")
        return run
