"""From a trial to its value: sample, train, score. Which outcome is which state, only here."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from sb3_hpo.callback import mark_infeasible, report_evaluation
from sb3_hpo.codec import build
from sb3_hpo.scores import score_rule
from sb3_hpo.seeds import Stream, derive_seed, derive_seeds
from sb3_hpo.training import Hooks, Member, OnStep, train
from sb3_hpo.trials import KWARGS_OVERRIDE, OUTCOME, RUN

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from pathlib import Path

    from sb3_hpo.config import StudyConfig
    from sb3_hpo.records import Evaluation, RunRecord


@dataclass(frozen=True)
class Verdict:
    """What to tell the study about a trial.

    Attributes:
        state: COMPLETE, PRUNED, or FAIL for an interrupted trial.
        value: The trial value of a COMPLETE trial.
        record: The run behind it.
    """

    state: TrialState
    value: float | None
    record: RunRecord


class Objective:
    """Runs one trial in this process.

    `judge` says what to tell the study. Calling the objective itself follows Optuna's protocol,
    so that it can be handed to `study.optimize`.
    """

    def __init__(
        self,
        config: StudyConfig,
        sample: Callable[[Any], dict[str, Any]],
        *,
        on_step: OnStep = lambda _: None,
        run_dir: Path | None = None,
    ) -> None:
        """Prepare.

        Args:
            config: The study's configuration.
            sample: From a trial to keyword arguments of the algorithm.
            on_step: Called at every environment step; may raise `StopRun`.
            run_dir: Where `--tensorboard` logs go.
        """
        self._config = config
        self._sample = sample
        self._on_step = on_step
        self._run_dir = run_dir
        self._score = score_rule(config.score)
        self._episode_seeds = derive_seeds(
            config.seed, Stream.SEARCH_EPISODES, config.n_eval_episodes
        )

    def __call__(self, trial: optuna.Trial) -> float:
        """Return the trial value.

        Args:
            trial: A running trial.

        Returns:
            The score of the learning curve.

        Raises:
            optuna.TrialPruned: The trial was pruned, diverged, or went over its limits.
            KeyboardInterrupt: It was stopped from outside.
        """
        verdict = self.judge(trial)
        if verdict.state is TrialState.PRUNED:
            raise optuna.TrialPruned(verdict.record.reason or "pruned")
        if verdict.value is None:
            raise KeyboardInterrupt(verdict.record.reason)
        return verdict.value

    def judge(self, trial: optuna.Trial) -> Verdict:
        """Train the trial's sample and say what came of it.

        Args:
            trial: A running trial; its record is written to its user attributes.

        Returns:
            The verdict; an exception of the environment or the code passes through.
        """
        # Sampling also where the result is overridden: a trial without parameters would take
        # every dimension out of TPE's joint search space.
        kwargs = self._sample(trial)
        if KWARGS_OVERRIDE in trial.user_attrs:
            kwargs = build(trial.user_attrs[KWARGS_OVERRIDE])
        record = self._train(trial, kwargs)
        trial.set_user_attr(RUN, record.to_dict())
        if record.outcome in ("diverged", "oom", "timeout"):
            mark_infeasible(trial, record.outcome, record.reason)
            return Verdict(TrialState.PRUNED, None, record)
        trial.set_user_attr(OUTCOME, record.outcome)
        if record.outcome == "interrupted":
            return Verdict(TrialState.FAIL, None, record)
        if record.outcome == "dropped":
            return Verdict(TrialState.PRUNED, None, record)
        value = float(self._score([evaluation.value for evaluation in record.evaluations]))
        if not math.isfinite(value):
            raise ValueError(f"the score rule {self._config.score!r} returned {value}")
        return Verdict(TrialState.COMPLETE, value, record)

    def _train(self, trial: optuna.Trial, kwargs: dict[str, Any]) -> RunRecord:
        config = self._config
        member = Member(kwargs, derive_seed(config.seed, Stream.SEARCH_TRAINING, trial.number))

        def on_evaluation(evaluations: Mapping[int, Evaluation]) -> Collection[int]:
            pruned = report_evaluation(trial, evaluations[0], config.n_timesteps)
            return (0,) if pruned else ()

        tensorboard_dir = None
        if config.tensorboard and self._run_dir is not None:
            tensorboard_dir = self._run_dir / "tensorboard" / f"trial-{trial.number}"
        hooks = Hooks(
            on_evaluation=on_evaluation,
            on_step=self._on_step,
            tensorboard_dir=tensorboard_dir,
            verbose=config.verbose,
        )
        (run,) = train(config, [member], self._episode_seeds, hooks)
        return run.record
