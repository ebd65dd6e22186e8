"""Who races for the answer: the best trials of any study, as arguments of the algorithm."""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

from optuna.trial import FixedTrial

from sb3_hpo.algorithms.kwargs import serialize_kwargs
from sb3_hpo.reevaluation.race import Round, plan_race
from sb3_hpo.results.reevaluation_runs import Candidate
from sb3_hpo.results.study_result import with_policy_kwargs
from sb3_hpo.results.trials import best_trials, count_trials, record_of, trials_of
from sb3_hpo.training.batch_checks import CHEAP_COST_RATIO, batch_cost_ratio
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable

    import optuna
    from optuna.distributions import BaseDistribution
    from optuna.trial import FrozenTrial

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.spaces.overrides.trial_proxy import Sample

    # Returns the description of the arguments that a trial of somebody else's study stands for.
    Replay = Callable[[FrozenTrial], dict[str, object]]


def pick_candidates(
    study: optuna.Study, config: StudyConfig, replay: Replay | None = None
) -> tuple[list[Candidate], tuple[Round, ...]]:
    """Pick the best trials by value, without duplicates, and plan their race.

    Args:
        config: Its configuration; `top` says how many, if the user does.
        replay: For trials that were not trained by us.

    Returns:
        The candidates, best first, and the rounds of their race, none if the best is not to be
        challenged.

    Raises:
        UserError: No trial is COMPLETE and feasible, or there are fewer different ones than
            asked for.
    """
    counts = count_trials(trials_of(study))
    is_cheap = cost_ratio_of_seeds(study, config) <= CHEAP_COST_RATIO
    rounds = plan_race(counts.finished, config.top, is_cheap=is_cheap)
    n_wanted = rounds[0].n_candidates if rounds else 1
    candidates: dict[str, Candidate] = {}
    for trial in best_trials(study):
        if len(candidates) == n_wanted:
            break
        candidate = _candidate(trial, config, replay)
        candidates.setdefault(json.dumps(candidate.kwargs, sort_keys=True), candidate)
    if not candidates and counts.complete:
        raise UserError(
            f"study {study.study_name!r} has no feasible COMPLETE trial to be re-evaluated: "
            f"all {counts.complete} break a constraint (a value above 0); "
            "run more trials or relax the constraint"
        )
    if not candidates:
        raise UserError(
            f"study {study.study_name!r} has no COMPLETE trial to be re-evaluated; run more trials"
        )
    if config.top is not None and len(candidates) < config.top:
        raise UserError(
            f"top: `top <= COMPLETE trials that differ` must hold, but got {config.top} > "
            f"{len(candidates)}"
        )
    n = len(candidates)
    fitting = tuple(Round(min(r.n_candidates, n), r.n_seeds) for r in rounds)
    return list(candidates.values()), fitting if n > 1 else ()


def cost_ratio_of_seeds(study: optuna.Study, config: StudyConfig) -> float:
    """Return what another seed of a configuration costs in the same batch, in runs alone.

    Args:
        study: The study; where its best trial was SB3's own, its seeds are taken to be so too.
    """
    best = next(iter(best_trials(study)), None)
    record = None if best is None else record_of(best)
    return batch_cost_ratio(config) if record is not None and record.n_together else 1.0


def count_different(study: optuna.Study) -> int:
    """Return how many different configurations the COMPLETE trials of a study of ours have."""
    records = [record for trial in best_trials(study) if (record := record_of(trial))]
    return len({json.dumps(record.kwargs, sort_keys=True) for record in records})


def _candidate(trial: FrozenTrial, config: StudyConfig, replay: Replay | None) -> Candidate:
    record = record_of(trial)
    if record is not None:
        kwargs = record.kwargs
    elif replay is not None:
        kwargs = with_policy_kwargs(replay(trial), config)
    else:
        raise UserError(
            f"trial {trial.number} has no record of what was trained: say which search space its "
            "parameters are of"
        )
    return Candidate(trial=trial.number, kwargs=kwargs, trial_value=trial.value)


class _Replayed(FixedTrial):
    """A trial that refuses, by name, a parameter that it lacks or whose value is not in range."""

    def __init__(self, trial: FrozenTrial) -> None:
        super().__init__(trial.params)
        self._original = trial
        self.has_same_ranges = True  # so far
        self.has_same_notes = True

    def set_user_attr(self, key: str, value: Any) -> None:
        """Compare what the space notes with what the trial has kept."""
        kept = json.dumps(self._original.user_attrs.get(key))
        self.has_same_notes &= json.dumps(value) == kept
        super().set_user_attr(key, value)

    def _suggest(self, name: str, distribution: BaseDistribution) -> Any:
        if name not in self._original.params:
            raise ValueError(f"it has no parameter {name!r}")
        self.has_same_ranges &= distribution == self._original.distributions[name]
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)  # Optuna only warns of a value outside
            try:
                return super()._suggest(name, distribution)
            except (ValueError, UserWarning) as error:
                raise ValueError(f"parameter {name!r}: {error}") from error


def replay_through(*samples: Sample) -> Replay:
    """Return what turns a trial's parameters into arguments, by sampling them once more.

    Args:
        samples: The search spaces that the study may have been made with, the likeliest first. A
            script that knows no context makes other arguments of equal parameters: the
            distributions and the values noted as user attributes, as the trial has kept them,
            tell which one it was.

    Returns:
        A function that raises UserError for a trial that is of none of these spaces.
    """

    def replay(trial: FrozenTrial) -> dict[str, object]:
        replayed, errors = [], []
        for sample in samples:
            try:
                replayed.append(_replay(sample, trial))
            except UserError as error:
                errors.append(error)
        if not replayed:
            raise errors[0]
        kwargs, _ = max(replayed, key=lambda pair: pair[1])  # of equally like ones the first
        return kwargs

    return replay


def _replay(sample: Sample, trial: FrozenTrial) -> tuple[dict[str, object], tuple[bool, bool]]:
    """Return what a space makes of a trial, and whether ranges and notes are the trial's own."""
    fixed = _Replayed(trial)
    try:
        kwargs: dict[str, object] = serialize_kwargs(sample(fixed))
    except ValueError as error:
        text = " ".join(str(error).split()).removesuffix(".")
        raise UserError(
            f"trial {trial.number} does not replay through this search space: {text}; "
            "pass the --space it was sampled from"
        ) from error
    unused = sorted(set(trial.params) - set(fixed.params))
    if unused:
        raise UserError(
            f"trial {trial.number} does not replay through this search space, which knows "
            f"no {', '.join(unused)}; pass the --space it was sampled from"
        )
    return kwargs, (fixed.has_same_ranges, fixed.has_same_notes)
