"""What a study and its re-evaluation say: who won, how good that is, and what it all cost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from sb3_hpo.algorithms.kwargs import merge
from sb3_hpo.results.reevaluation_runs import BASELINE, Candidate, ReevaluationRun, runs_of
from sb3_hpo.results.trials import Counts, count_trials, record_of, trials_of
from sb3_hpo.scoring import statistics
from sb3_hpo.scoring.score_rules import estimates_final, score_rule
from sb3_hpo.utils.formatting import plural

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna

    from sb3_hpo.config.reevaluation_config import ReevaluationConfig
    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.run_record import RunRecord
    from sb3_hpo.scoring.statistics import Array, Estimate

CAUTION = (
    "A trial value is not yet a result: it is the luckiest of many noisy scores, from one "
    "training seed each. Retrain with other seeds before you believe it."
)


@dataclass(frozen=True)
class TestResult:
    """A candidate's test: the final policies of training seeds that nothing was chosen by.

    Attributes:
        candidate: Who.
        runs: One a test seed, by seed index.
        scores: Shape [n_seeds, n_episodes]: returns of the final policies, with NaN at the end of
            a row whose judgement was cut. A run that diverged has the candidate's lowest return
            of any episode throughout: it is not left out.
        iqm: Interquartile mean over seeds of the mean return.
        mean: Mean likewise. It has no interval: where one seed in five fails, a bootstrap's
            "95 %" holds in 86 % of tests with ten seeds, in 63 % with five.
        median: Median likewise.
        worst: Mean return of the worst seed.
        n_broken: Runs that diverged or ran out of memory.
    """

    candidate: Candidate
    runs: tuple[ReevaluationRun, ...]
    scores: Array
    iqm: Estimate
    mean: float
    median: float
    worst: float
    n_broken: int

    @property
    def n_steps(self) -> int:
        """Environment steps that each of the runs was trained, unless it broke before."""
        return max(run.record.n_steps for run in self.runs)

    @property
    def n_episodes(self) -> tuple[int, int]:
        """The fewest and the most episodes that judge a run."""
        counts = np.isfinite(self.scores).sum(axis=1)
        return int(counts.min()), int(counts.max())

    @property
    def n_cut(self) -> int:
        """Runs whose judgement has an episode that was cut, or lacks episodes."""
        return sum(run.final is not None and run.final.truncated for run in self.runs)

    @property
    def median_run(self) -> ReevaluationRun | None:
        """The run of the median seed (of an even number the lower one), or None if all broke.

        Broken runs count as the worst; where one of them is the median, the worst whole one.
        """
        whole = [run for run in self.runs if run.final is not None]
        whole.sort(key=lambda run: float(np.mean(run.episode_values)))
        rank = (len(self.runs) - 1) // 2 - (len(self.runs) - len(whole))
        return whole[max(rank, 0)] if whole else None


@dataclass(frozen=True)
class Cost:
    """What something cost.

    Attributes:
        n_runs: Training runs, whole or ended early.
        n_steps: Environment steps of training.
        seconds: Their wall time, added up over processes.
    """

    n_runs: int
    n_steps: int
    seconds: float


@dataclass(frozen=True)
class StudyResult:
    """What is known.

    Attributes:
        counts: Trials by what became of them.
        raced: The raced candidates with the scores of their race runs, by seed index; those
            that stayed longest first, then by their mean.
        winner: The chosen candidate, tested; None before there is a test.
        default: SB3's default (`BASELINE`), tested; None before.
        improvement: P(a run of the winner beats a run of the default).
        gain: IQM of the winner minus IQM of the default.
        optimism: The winner's trial value minus its re-evaluated IQM; None where the score rule
            makes them different quantities.
        broken: Number of test runs by who has no number: all broke before their first evaluation.
        search: What the search cost, pruned and lost trials included.
        race: What the race cost.
        test: What the test of winner and default cost.
    """

    counts: Counts
    raced: tuple[tuple[Candidate, tuple[float, ...]], ...]
    winner: TestResult | None
    default: TestResult | None
    improvement: Estimate | None
    gain: Estimate | None
    optimism: float | None
    broken: dict[str, int]
    search: Cost
    race: Cost
    test: Cost

    @property
    def what_broke(self) -> list[str]:
        """Sentences about those whose test gave no number."""
        return [
            f"All {plural(n, 'test run')} of {who} diverged or ran out of memory."
            for who, n in self.broken.items()
        ]

    @property
    def beats_default(self) -> bool:
        """Whether the winner is surely better than SB3's default.

        By the interval of the gain; from fewer seeds, if each of at least three runs is better
        than all of the default's (three against ten: an error of 1 in 286).
        """
        if self.gain is not None and self.gain.interval is not None:
            return self.gain.low > 0
        if self.winner is None or self.default is None:
            return False
        ours, theirs = (statistics.seed_means(t.scores) for t in (self.winner, self.default))
        return min(len(ours), len(theirs)) >= 3 and bool(min(ours) > max(theirs))


def with_policy_kwargs(kwargs: dict[str, object], config: ReevaluationConfig) -> dict[str, object]:
    """Merge the user's `policy_kwargs` into a description, as training does.

    Args:
        kwargs: Description of arguments.
    """
    merged = merge(kwargs, {"policy_kwargs": config.policy_kwargs})
    if not merged["policy_kwargs"]:
        del merged["policy_kwargs"]
    return merged


def read_result(
    study: optuna.Study,
    config: StudyConfig | None,
    all_runs: Sequence[ReevaluationRun],
    winner: Candidate | None,
) -> StudyResult:
    """Put together what is known.

    Args:
        study: The study, also a running one.
        config: Its configuration; None for a study of another tool that was not re-evaluated.
        all_runs: What the re-evaluation has trained so far.
        winner: Whom it chose, if it has.

    Returns:
        The answer. Equal data give equal intervals: their random numbers come from the study's
        seed.
    """
    tested = beside = improvement = gain = None
    winner = winner if winner is not None and _is_of(study, winner) else None
    if config is not None:
        tested = None if winner is None else read_test(config, all_runs, winner)
        beside = read_test(config, all_runs, BASELINE)
    if config is not None and tested is not None and beside is not None:
        rng = np.random.default_rng(config.seed)
        improvement = statistics.probability_of_improvement(tested.scores, beside.scores, rng)
        gain = statistics.difference(tested.scores, beside.scores, statistics.iqm, rng)
    value = None if winner is None else winner.trial_value
    optimism = None
    if config is not None and tested is not None and value is not None:
        optimism = value - tested.iqm.value if estimates_final(config.score) else None
    races, tests = ([run.record for run in all_runs if run.stage == s] for s in ("race", "test"))
    return StudyResult(
        counts=count_trials(trials_of(study)),
        raced=() if config is None else _raced(config, all_runs),
        winner=tested,
        default=beside,
        improvement=improvement,
        gain=gain,
        optimism=optimism,
        broken={
            who.name: len(own)
            for who, found in ((winner, tested), (BASELINE, beside))
            if config is not None and who is not None and found is None
            if (own := runs_of(config, all_runs, "test", who))
        },
        search=_cost(
            [record for trial in trials_of(study) if (record := record_of(trial))],
            1 if config is None else config.n_seeds,
        ),
        race=_cost(races),
        test=_cost(tests),
    )


def _is_of(study: optuna.Study, winner: Candidate) -> bool:
    """Return whether a study has the trial that was chosen: the file may be another study's."""
    if winner.trial is None or winner.trial_value is None:
        return True
    values = {trial.number: trial.value for trial in trials_of(study)}
    return values.get(winner.trial) == winner.trial_value


def race_score(run: ReevaluationRun, config: ReevaluationConfig) -> float:
    """Return what the race compares: the score of the run's curve, -inf if it did not finish."""
    if run.record.outcome != "finished":
        return -float("inf")
    curve = [evaluation.value for evaluation in run.record.evaluations]
    return float(score_rule(config.score)(curve))


def _raced(
    config: ReevaluationConfig, all_runs: Sequence[ReevaluationRun]
) -> tuple[tuple[Candidate, tuple[float, ...]], ...]:
    scores: dict[int | None, tuple[Candidate, tuple[float, ...]]] = {}
    for run in all_runs:
        if run.stage == "race" and run.trial not in scores:
            candidate = Candidate(trial=run.trial, kwargs=run.record.kwargs)
            own = runs_of(config, all_runs, "race", candidate)
            if own:  # else this run is another configuration's
                scores[run.trial] = (candidate, tuple(race_score(run, config) for run in own))
    order = {number: (-len(own), -float(np.mean(own))) for number, (_, own) in scores.items()}
    return tuple(scores[number] for number in sorted(scores, key=order.__getitem__))


def read_test(
    config: ReevaluationConfig, all_runs: Sequence[ReevaluationRun], candidate: Candidate
) -> TestResult | None:
    """Put together a candidate's test.

    Args:
        all_runs: All runs, also other candidates'.
        candidate: Whose test.

    Returns:
        The test so far, or None if there is no number yet.
    """
    runs = runs_of(config, all_runs, "test", candidate)
    if not runs:
        return None
    whole = [run.episode_values for run in runs if run.final is not None]
    seen = [value for values in whole for value in values]
    curves = [e for run in runs for e in run.record.evaluations]
    seen += [v for e in curves for v in (e.returns if e.metric is None else e.metric)]
    if not seen:
        return None  # every run broke before its first evaluation: there is no number to give
    n_episodes = max(map(len, whole), default=1)
    scores = np.full((len(runs), n_episodes), np.nan)
    for row, run in zip(scores, runs, strict=True):
        values = run.episode_values or (min(seen),) * n_episodes
        row[: len(values)] = values
    means = statistics.seed_means(scores)
    return TestResult(
        candidate=candidate,
        runs=tuple(runs),
        scores=scores,
        iqm=statistics.estimate(scores, statistics.iqm, np.random.default_rng(config.seed)),
        mean=float(statistics.mean(means)),
        median=float(statistics.median(means)),
        worst=float(means.min()),
        n_broken=len(runs) - len(whole),
    )


def _cost(records: Sequence[RunRecord], n_seeds: int = 1) -> Cost:
    return Cost(
        n_runs=len(records) * n_seeds,
        n_steps=sum(record.n_steps for record in records),
        seconds=sum(record.seconds for record in records),
    )
