"""The answer in hand: a study after its search, for scripts and notebooks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.registry import load_algorithm
from sb3_hpo.config.study_config import make_config
from sb3_hpo.export.recipe import load_best
from sb3_hpo.results.reevaluation_runs import (
    LOG_FILE,
    POLICY_FILE,
    STATISTICS_FILE,
    ReevaluationLog,
)
from sb3_hpo.results.study_result import read_result
from sb3_hpo.results.trials import CONFIG, best_trials, record_of, trials_of
from sb3_hpo.storages.existing import find_run_dir, find_study
from sb3_hpo.utils.errors import UserError, check_installed
from sb3_hpo.utils.notebook_objects import FOLDER, search_in

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    import pandas as pd
    from stable_baselines3.common.base_class import BaseAlgorithm
    from stable_baselines3.common.vec_env import VecEnv

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.export.recipe import Recipe
    from sb3_hpo.results.study_result import StudyResult, TestResult

_NO_CAP = 10_000_000  # steps: a person who plays an episode wants its end
_UNTESTED = "the answer has not been tested: `python -m sb3_hpo.reevaluate` leaves its policy"


@dataclass(frozen=True, repr=False)
class TuningResult:
    """A study after its search.

    Attributes:
        study: The Optuna study, to be looked at.
        run_dir: Where its files are.
        exit_status: 0 complete, timed out or stopped; 1 given up after errors or without any
            trial that has a value; 130 or 143 interrupted.
        trust: Whether modules are imported that only the study names, and not a library.
    """

    study: optuna.Study
    run_dir: Path
    exit_status: int
    trust: bool = False

    @classmethod
    def load(cls, run_dir: str | Path, *, trust: bool = False) -> TuningResult:
        """Return the result of a study that was tuned before, from its run folder.

        Args:
            trust: Whether `model()` and its like import modules of yours, or of whoever has made
                the study: they are code.

        Raises:
            UserError: There is no study.
        """
        search_in(Path(run_dir) / FOLDER)
        study = find_study(str(run_dir))
        folder = find_run_dir(str(run_dir), study, str(run_dir))
        return cls(study, folder, exit_status=0, trust=trust)

    @cached_property
    def config(self) -> StudyConfig:
        """What was tuned, and how."""
        return make_config(self.study.user_attrs[CONFIG], imports=False)

    @cached_property
    def best(self) -> Recipe:
        """The answer as a recipe; before a re-evaluation the trial with the best value.

        Raises:
            UserError: No trial has a value.
        """
        return load_best(self.run_dir)

    @cached_property
    def result(self) -> StudyResult:
        """All that search and re-evaluation say."""
        log = ReevaluationLog(self.run_dir / LOG_FILE)
        return read_result(self.study, self.config, log.read(), log.winner())

    @property
    def reevaluated(self) -> TestResult | None:
        """The test of the answer: `iqm` with its interval, `median`, `worst`, `runs` by seed.

        None before there was one. This, not a trial value, is what may be reported.
        """
        return self.result.winner

    def build_kwargs(self) -> dict[str, Any]:
        """Return new keyword arguments of the answer, for the algorithm's constructor."""
        return self.best.build_kwargs(trust=self.trust)

    def make_env(self) -> VecEnv:
        """Return one environment as the policy of `model()` knows it.

        Returns:
            A vector environment with the wrappers, stacked frames and, with `normalize`, the
            policy's own statistics; rewards are as the environment pays them.
        """
        from stable_baselines3.common.vec_env import VecNormalize

        from sb3_hpo.envs.factory import make_evaluation_envs

        self.best.check_trusted(trust=self.trust)
        config = self.best.config.model_copy(update={"n_eval_envs": 1})
        statistics = self.run_dir / STATISTICS_FILE
        if not config.normalize:
            return make_evaluation_envs(config, _NO_CAP)
        if not statistics.exists():
            raise UserError(f"no {statistics}: {_UNTESTED}")
        plain = make_evaluation_envs(config.model_copy(update={"normalize": False}), _NO_CAP)
        venv = VecNormalize.load(str(statistics), plain)
        venv.training = venv.norm_reward = False
        return venv

    def model(self) -> BaseAlgorithm:
        """Return the trained policy of the answer's median test seed.

        Raises:
            UserError: There was no re-evaluation.
        """
        self.best.check_trusted(trust=self.trust)
        path = self.run_dir / POLICY_FILE
        if not path.exists():
            raise UserError(f"no {path}: {_UNTESTED}")
        return load_algorithm(self.config.algo).load(path, device=self.config.device or "auto")

    def trials_dataframe(self) -> pd.DataFrame:
        """Return Optuna's table of the trials; needs pandas."""
        return self.study.trials_dataframe()

    def curves(self) -> pd.DataFrame:
        """Return the learning curves of all trials.

        Returns:
            Columns `trial`, `seed`, `step` (environment steps) and `value` (mean over episodes).
        """
        records = [(trial.number, record_of(trial)) for trial in trials_of(self.study)]
        return _frame(
            ["trial", "seed", "step", "value"],
            [
                (number, record.seed, evaluation.nominal_step, evaluation.value)
                for number, record in records
                if record is not None
                for evaluation in record.evaluations
            ],
        )

    def seeds(self) -> pd.DataFrame:
        """Return the runs of the re-evaluation's test, of the answer and of SB3's default.

        Returns:
            Columns `of`, `seed`, `value` (mean over episodes; NaN for a run that broke), `steps`
            and `seconds` of training.
        """
        rows = [
            (tested.candidate.name, run.record.seed, _mean(run.episode_values),
             run.record.n_steps, run.record.seconds)
            for tested in (self.result.winner, self.result.default)
            if tested is not None
            for run in tested.runs
        ]  # fmt: skip
        return _frame(["of", "seed", "value", "steps", "seconds"], rows)

    def __repr__(self) -> str:
        """Return the answer in a line."""
        return f"TuningResult({self._said()})"

    def _repr_html_(self) -> str:
        """Return the answer for notebooks."""
        return f"<div>{escape(self._said())}</div>"

    def _said(self) -> str:
        if not best_trials(self.study, 1):
            return f"study {self.study.study_name}: no trial has a value"
        tested = self.reevaluated
        if tested is None:
            return (
                f"{self.best.title}: not re-evaluated, so that its value is the luckiest of many"
            )
        ends = tested.iqm.interval
        between = "" if ends is None else f" (95 %: {ends[0]:,.1f} to {ends[1]:,.1f})"
        return (
            f"{self.best.title}: IQM {tested.iqm.value:,.1f}{between}, worst seed "
            f"{tested.worst:,.1f}, {len(tested.runs)} fresh seeds"
        )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")


def _frame(columns: list[str], rows: list[tuple[Any, ...]]) -> pd.DataFrame:
    check_installed("a table", ["pandas"], extra="tables")
    import pandas as pd

    return pd.DataFrame(rows, columns=columns)
