"""Recording training: from its iterations to a run with a history, a best policy and files."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from copy import deepcopy

import numpy as np

from policygrad._support.state import unpack
from policygrad.errors import NonFiniteError
from policygrad.evaluation import Selection
from policygrad.policies import Policy, Snapshot
from policygrad.runs.callback import OnUpdate, Update, wants_to_end
from policygrad.runs.curves import drawing_may_fail, save_curve
from policygrad.runs.folder import RunFolder
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Progress
from policygrad.runs.reporting import report_findings
from policygrad.runs.run import FINISHED, Ending, Run, StoppedError
from policygrad.training import WINDOW, Candidates, Iteration
from policygrad.types import F64, State

SOLVED_BY = ("steps", "seconds", "episodes", "return_100")
"""Metrics that say when a run was solved."""


class Recorder:
    """Turns a stream of iterations into a run: its history, its best policy, its files and its display.

    Args:
        run: the run to fill in.
        display: shows the progress of the run.
        interruption: says, between iterations, whether the run should end early.
        stop: end the run when it is solved.
        select: chooses the best of several policies at the end of the run, given the most promising one first; None
            takes the first.
        candidates: the policies that may be the best, which training keeps.
        on_update: called after every row; see `Settings.on_update`.
        state: returns the state of training for checkpoints; called between iterations.
        alone: False for one run of many.
    """

    def __init__(
        self,
        run: Run,
        display: Progress,
        interruption: Interruption,
        *,
        stop: bool,
        select: Callable[[Run, list[Snapshot]], Selection | None] | None = None,
        candidates: Candidates,
        on_update: OnUpdate | None = None,
        state: Callable[[], State],
        alone: bool = True,
    ) -> None:
        self._run = run
        self.folder: RunFolder | None = None
        """Folder in which the run is saved, if any."""
        self._display = display
        self._interruption = interruption
        self._stop = stop
        self._state = state
        self._alone = alone
        self._select = select
        self._on_update = on_update
        self._failure: BaseException | None = None
        self._acted = run.last_policy.snapshot()
        self._candidates = candidates

    def state(self) -> State:
        """Return the state of the recording, except for the rows, and of training."""
        run = self._run
        return {
            "training": self._state(),
            "rows": len(run.updates),
            "candidates": self._candidates.state(),
            # not read, because it follows from the rows; earlier versions need it
            "window full": run.updates.latest.get("episodes", 0) >= WINDOW,
            "episodes": run.episodes.state(),
        }

    def restore(self, state: State) -> State:
        """Restore the state of the recording, except for the rows. Return the state of training."""
        training, _, candidates, _, episodes = unpack(
            state, "training", "rows", "candidates", "window full", "episodes"
        )
        run = self._run
        self._candidates.restore(candidates)
        run.best_mean = self._candidates.best.mean
        run.episodes.restore(episodes)
        return training

    def restore_rows(self, rows: Iterable[dict[str, float]]) -> None:
        """Restore the history up to that state, after training itself has been restored."""
        self._acted = self._run.last_policy.snapshot()
        run = self._run
        for row in rows:
            run.updates.append(row)
            self._note_if_solved(*(np.array([row[name]]) for name in SOLVED_BY))
        if run.updates:
            self._display.update(run.updates.latest)

    def record(self, loop: Iterable[Iteration]) -> Run:
        """Consume the loop until it ends for any reason, and finish the run."""
        with self._interruption.saving:
            return self._record(iter(loop))

    def _record(self, loop: Iterator[Iteration]) -> Run:
        run, folder = self._run, self.folder
        try:
            if folder is not None and not run.updates:
                # so that a run can be resumed from the very beginning
                folder.save_checkpoint(self.state, now=True)
            while not self._interruption.requested:
                with self._interruption.learning:
                    iteration = next(loop, None)
                if iteration is None:
                    break
                self._take(iteration)
                if self._called_back(iteration):
                    run.ended = "callback"
                    break
                if self._stop and iteration.solved:
                    run.ended = "stop_at"
                    break
            else:
                run.ended = "interrupted"
            if folder is not None:
                folder.save_checkpoint(self.state, now=True)
        except KeyboardInterrupt:
            # the state is inconsistent in the middle of an update, so the last checkpoint is kept
            run.ended = "interrupted"
        except BaseException as error:
            if isinstance(error, NonFiniteError) and error is not self._failure:
                self._finish("non-finite")
                raise StoppedError(run, str(error)) from error
            # an environment that crashes or exits must not cost what was learned
            try:
                self._finish("error")
            except Exception as another:
                warnings.warn(f"what was learned could not be saved: {another}", RuntimeWarning, stacklevel=2)
            with suppress(AttributeError):
                error.run = run  # pyright: ignore[reportAttributeAccessIssue]
            raise
        return self._finish(run.ended)

    def _called_back(self, iteration: Iteration) -> bool:
        """Call the user's function with the iteration's row, and return whether the run should end."""
        if self._on_update is None:
            return False
        run = self._run
        try:
            with self._interruption.learning:
                return wants_to_end(self._on_update(Update(iteration.last, run.last_policy, run)))
        except BaseException as error:
            # training stands between two updates, so its state can be saved
            self._failure = error
            if self.folder is not None:
                self.folder.save_checkpoint(self.state, now=True)
            raise

    def _take(self, iteration: Iteration) -> None:
        run = self._run
        self._acted = iteration.acted
        run.updates.extend(iteration.names, iteration.table)
        run.episodes.extend(iteration.returns, np.repeat(iteration.column("steps"), iteration.episodes))
        self._note_if_solved(*(iteration.column(name) for name in SOLVED_BY))
        run.best_mean = self._candidates.best.mean
        if self.folder is not None:
            self.folder.log(iteration)
            if iteration.new_best:
                self.folder.save_best(self._best_policy)
            self.folder.save_checkpoint(self.state)
        self._display.update(iteration.last)

    def _note_if_solved(self, steps: F64, seconds: F64, episodes: F64, mean: F64) -> None:
        """Note when the threshold was reached, from columns of rows; a resumed run may have another threshold."""
        run = self._run
        if run.solved_at is None and run.threshold is not None:
            solved = np.flatnonzero((episodes >= WINDOW) & (mean >= run.threshold))
            if len(solved):
                run.solved_at, run.solved_seconds = int(steps[solved[0]]), float(seconds[solved[0]])

    def _best_policy(self, snapshot: Snapshot | None = None) -> Policy:
        best = deepcopy(self._run.last_policy)
        best.restore(self._candidates.best.snapshot if snapshot is None else snapshot)
        return best

    def _select_best(self) -> None:
        """Choose the candidate that scores best, and whether it acts greedily."""
        run = self._run
        snapshots = [entry.snapshot for entry in self._candidates.entries] + [run.last_policy.snapshot()]
        if self._select is not None and run.updates:
            try:
                with self._interruption.opening:
                    run.selection = self._select(run, snapshots)
            except KeyboardInterrupt:
                run.ended = "interrupted"
                self._display.say("interrupted: the best policy is the one with the best training returns")
            except (Exception, SystemExit) as error:
                warnings.warn(
                    f"scoring the best policies raised {type(error).__name__}: {error}. The best policy is the one "
                    "with the best training returns. Use select=False (--no-select) to skip scoring.",
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
        # set again, because an exception may have been raised in the middle of a change of phases
        with self._interruption.saving:
            return self._finished(ended)

    def _finished(self, ended: Ending) -> Run:
        run, folder = self._run, self.folder
        if ended in FINISHED and self._interruption.signaled:
            ended = "interrupted"
        if ended == "non-finite":
            # the final parameters may have caused the NaN, but those that acted last did not
            run.last_policy.restore(self._acted)
        run.ended = ended
        if ended in FINISHED:
            self._select_best()
        else:
            run.policy = self._best_policy()
        report_findings(run, self._display, alone=self._alone)
        if folder is None:
            return run
        folder.save_policies(run.policy, run.last_policy)
        folder.save_summary(run.summary())
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
            self._display.say(f"the earlier run at {run.out} was moved to {kept}")
        return run
