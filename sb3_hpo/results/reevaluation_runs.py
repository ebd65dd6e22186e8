"""Runs of the re-evaluation: what is to be trained again, and the file that keeps what was."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from dataclasses import asdict, dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from pydantic import TypeAdapter

from sb3_hpo.results.run_record import Evaluation, RunRecord  # noqa: TC001 - pydantic reads annotations
from sb3_hpo.utils.seeding import Stream, derive_seed, derive_seeds

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from sb3_hpo.config.reevaluation_config import ReevaluationConfig
    from sb3_hpo.config.training_config import TrainingConfig

_logger = logging.getLogger(__name__)

Config = TypeVar("Config", bound="TrainingConfig")
Stage = Literal["race", "test"]
LOG_FILE = "reevaluation.jsonl"
MODEL_FILE = "model.zip"
STATISTICS_FILE = "vecnormalize.pkl"
POLICY_FILE = "best_model.zip"  # of the median test seed


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A configuration that may become the answer, or the baseline beside it.

    Attributes:
        trial: Number of the trial it comes from; None where it comes from none.
        kwargs: Description of the algorithm's arguments, the user's `policy_kwargs` included.
        trial_value: What the study maximised, if it comes from a trial.
        is_baseline: Whether it is SB3's literal default, trained as `training_config` says.
    """

    trial: int | None
    kwargs: dict[str, Any]
    trial_value: float | None = None
    is_baseline: bool = False

    @property
    def name(self) -> str:
        """What people call it."""
        if self.is_baseline:
            return "SB3's default"
        return "the recipe" if self.trial is None else f"trial {self.trial}"


BASELINE = Candidate(trial=None, kwargs={}, is_baseline=True)
"""What users have without tuning, `PPO("MlpPolicy", env)`: SB3's default."""


def training_config(config: Config, candidate: Candidate) -> Config:
    """Return what a candidate is trained in.

    Returns:
        For trials the configuration as it is. For the baseline what belongs to the problem: the
        environment with its wrappers and stacked frames, hindsight, the policy that was named,
        the budget, the evaluation. What is tuning is left out: one environment, as SB3 makes it,
        no VecNormalize, no `policy_kwargs`, no callbacks.
    """
    if not candidate.is_baseline:
        return config
    plain = {"n_envs": 1, "vec_env": "dummy", "normalize": False, "policy_kwargs": {}}
    return config.model_copy(update={**plain, "callbacks": ()})


@dataclass(frozen=True, kw_only=True)
class ReevaluationRequest:
    """One run that is to be trained.

    Attributes:
        stage: What it is for: to choose among candidates, or to judge the chosen one.
        candidate: What is trained.
        seed_index: Which seed of its stage.
        seed: Training seed.
        episode_seeds: Start states of the learning curve's evaluations.
        final_seeds: Start states of the episodes that judge the final policy; may be empty.
    """

    stage: Stage
    candidate: Candidate
    seed_index: int
    seed: int
    episode_seeds: tuple[int, ...]
    final_seeds: tuple[int, ...]

    def key(self, config: TrainingConfig) -> str:
        """Return a name for everything that the run's numbers depend on.

        Args:
            config: What all runs share.

        Returns:
            Hexadecimal digits; equal keys mean equal runs, so none need be trained twice.
        """
        values = {
            "config": training_config(config, self.candidate).training_identity(),
            "kwargs": self.candidate.kwargs,
            "seeds": [self.seed, self.episode_seeds, self.final_seeds],
        }
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def make_request(
    config: ReevaluationConfig, stage: Stage, candidate: Candidate, seed_index: int
) -> ReevaluationRequest:
    """Say how a candidate is trained from one of a stage's seeds.

    Args:
        stage: Race and test share no training seed and no episode with each other or the search.
        candidate: What to train.
        seed_index: Which seed; candidates share it, so that none has the luckier ones.

    Returns:
        The run. The curve of a test run is drawn from the race's episodes; its judgement from
        episodes of its own, other ones for each training seed: twenty shared start states would
        be an error common to all seeds, which no interval over seeds would show.
    """
    racing = stage == "race"
    stream = Stream.RACE_TRAINING if racing else Stream.TEST_TRAINING
    own = derive_seed(config.seed, Stream.TEST_EPISODES, seed_index)
    n_final = 0 if racing else config.test_episodes
    return ReevaluationRequest(
        stage=stage,
        candidate=candidate,
        seed_index=seed_index,
        seed=derive_seed(config.seed, stream, seed_index),
        episode_seeds=derive_seeds(config.seed, Stream.RACE_EPISODES, config.n_eval_episodes),
        final_seeds=derive_seeds(own, Stream.TEST_EPISODES, n_final),
    )


@dataclass(frozen=True, kw_only=True)
class ReevaluationRun:
    """One run of the re-evaluation, trained.

    Attributes:
        key: `ReevaluationRequest.key`.
        stage: What it was for.
        trial: Number of the trial it repeats; None for the baseline. Its arguments are in the
            record: equal ones are the same candidate, whatever their number.
        seed_index: Which seed of its stage.
        record: The run, with its learning curve.
        final: The final policy on the many episodes that judge it; None if the run did not
            finish, or is of the race.
    """

    key: str
    stage: Stage
    trial: int | None
    seed_index: int
    record: RunRecord
    final: Evaluation | None

    @property
    def episode_values(self) -> tuple[float, ...]:
        """What judges the final policy, one number an episode; empty without `final`."""
        if self.final is None:
            return ()
        return self.final.returns if self.final.metric is None else self.final.metric


_RUN = TypeAdapter(ReevaluationRun)
_CANDIDATE = TypeAdapter(Candidate)


class ReevaluationLog:
    """The file `reevaluation.jsonl`: a line for every finished run and for every choice made."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, run: ReevaluationRun) -> None:
        """Write one run, so that nothing can lose it any more."""
        self._write(asdict(run))

    def choose(self, winner: Candidate) -> None:
        """Write down which candidate was chosen, unless that is the choice already.

        Args:
            winner: The candidate to be tested.
        """
        if self.winner() != winner:
            self._write({"winner": asdict(winner)})

    def winner(self) -> Candidate | None:
        """Return the candidate chosen last, or None before there was a choice."""
        chosen = [entry for entry in self._entries() if isinstance(entry, Candidate)]
        return chosen[-1] if chosen else None

    def read(self) -> list[ReevaluationRun]:
        """Return the runs, in the order they finished; of equal keys the first."""
        all_runs: dict[str, ReevaluationRun] = {}
        for entry in self._entries():
            if isinstance(entry, ReevaluationRun):
                all_runs.setdefault(entry.key, entry)
        return list(all_runs.values())

    def _write(self, values: dict[str, Any]) -> None:
        torn = self._path.exists() and self._path.read_bytes()[-1:] not in (b"", b"\n")
        line = json.dumps(values)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"\n{line}\n" if torn else f"{line}\n")
            file.flush()
            os.fsync(file.fileno())

    def _entries(self) -> Iterator[ReevaluationRun | Candidate]:
        """Yield what the lines say; one that is damaged, by a power cut say, is told and left."""
        if not self._path.exists():
            return
        for number, line in enumerate(self._path.read_bytes().splitlines(), 1):
            try:
                values = json.loads(line)
                if isinstance(values, dict) and "winner" in values:
                    yield _CANDIDATE.validate_python(values["winner"])
                else:
                    yield _RUN.validate_python(values)
            except ValueError:  # no UTF-8, no JSON, or of something else
                _warn_of_damage(self._path, number, line)


@cache
def _warn_of_damage(path: Path, number: int, _content: bytes) -> None:
    """Tell of a damaged line, once as long as it is the same: the file is read several times."""
    _logger.warning("%s: line %d cannot be read; ignored", path, number)


def runs_of(
    config: ReevaluationConfig,
    all_runs: Sequence[ReevaluationRun],
    stage: Stage,
    candidate: Candidate,
) -> list[ReevaluationRun]:
    """Return one candidate's runs of one stage, as this configuration would train them.

    Args:
        all_runs: All runs, also those of other configurations.

    Returns:
        The runs by seed index.
    """
    own = [
        run
        for run in all_runs
        if run.stage == stage
        and run.key == make_request(config, stage, candidate, run.seed_index).key(config)
    ]
    return sorted(own, key=lambda run: run.seed_index)


def model_folder(run_dir: Path, trial: int | None, seed_index: int, key: str) -> Path:
    """Return where the model of a test run is kept.

    Args:
        trial: Number of the candidate's trial; None for the baseline.
        seed_index: Which test seed.
        key: Of the run: other options make another policy.
    """
    name = "default" if trial is None else f"trial-{trial}"
    return run_dir / "models" / f"{name}-seed-{seed_index}-{key[:8]}"
