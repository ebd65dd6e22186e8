"""Parts of the report about how its numbers came to be: cost, settings, seeds, search space."""

from __future__ import annotations

from typing import TYPE_CHECKING

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from sb3_hpo.report.pages.document import Block, Code, Items, Section, Table, Text
from sb3_hpo.results.trials import CONFIG, ERROR, outcome_of, record_of, trials_of
from sb3_hpo.utils.files import format_yaml
from sb3_hpo.utils.formatting import plural, readable
from sb3_hpo.utils.seeding import Stream, derive_seed

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from sb3_hpo.config.study_config import StudyConfig
    from sb3_hpo.results.study_result import Cost, StudyResult

_OUTCOMES = {
    "finished": "complete",
    "dropped": "pruned",
    "diverged": "diverged (infeasible)",
    "oom": "out of memory (infeasible)",
    "timeout": "over the time limit (infeasible)",
    "lost": "worker lost",
    "error": "failed with an error",
    "interrupted": "interrupted, tried again",
    "surplus": "surplus, not trained",
    "fail": "failed",
}
_STREAMS = {
    Stream.SEARCH_TRAINING: "training of the search, one a trial",
    Stream.SEARCH_EPISODES: "episodes of the search, the same for all trials",
    Stream.RACE_TRAINING: "training of the race, the same for all candidates",
    Stream.RACE_EPISODES: "episodes of the race and of test runs' curves",
    Stream.TEST_TRAINING: "training of the test",
    Stream.TEST_EPISODES: "roots of the test's episodes, one a training seed",
}
_N_SHOWN = 5  # errors, and sets of versions


def duration(seconds: float) -> str:
    """Return a time for reading.

    >>> [duration(seconds) for seconds in (4.21, 130, 9000)]
    ['4.2 s', '2.2 min', '2.5 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.1f} min" if seconds < 3600 else f"{seconds / 3600:.1f} h"


def cost_section(study: optuna.Study, result: StudyResult) -> Section:
    """Say what everything cost, pruned, lost and re-evaluated runs included.

    Args:
        result: What is known.
    """
    stages = (
        ("search", result.search),
        ("race", result.race),
        ("test of winner and default", result.test),
    )
    rows = [(name, *_amounts(spent)) for name, spent in stages]
    n_steps = sum(spent.n_steps for _, spent in stages)
    seconds = sum(spent.seconds for _, spent in stages)
    n_runs = sum(spent.n_runs for _, spent in stages)
    rows.append(("all", f"{n_runs:,}", f"{n_steps:,}", duration(seconds)))
    blocks: list[Block] = [
        Text(
            "Environment steps of training, and wall time of the runs (their evaluations "
            "included) added up over processes."
        ),
        Table(("stage", "runs", "environment steps", "wall time"), tuple(rows)),
        Text("The trials of the search, by what became of them:"),
        Table(("outcome", "trials", "environment steps", "wall time"), _by_outcome(study)),
    ]
    last_steps = [trial.last_step for trial in trials_of(study) if record_of(trial) is None]
    unknown = [step for step in last_steps if step is not None]
    if unknown:
        sentence = (
            f"{plural(len(unknown), 'trial')} left no record of the cost (still running, lost "
            "with the worker, or made by another tool) and are not counted; the last steps they "
            f"reported add up to {sum(unknown):,}."
        )
        blocks.append(Text(sentence))
    if errors := _errors(study):
        blocks += [Text("Errors:"), Items(errors)]
    return Section("What it cost", tuple(blocks))


def _amounts(spent: Cost) -> tuple[str, str, str]:
    return f"{spent.n_runs:,}", f"{spent.n_steps:,}", duration(spent.seconds)


def _by_outcome(study: optuna.Study) -> tuple[tuple[str, ...], ...]:
    ended = [
        (str(outcome_of(trial) or trial.state.name.lower()), record_of(trial))
        for trial in trials_of(study)
    ]
    rows = []
    for outcome in dict.fromkeys([*_OUTCOMES, *(outcome for outcome, _ in ended)]):
        group = [record for other, record in ended if other == outcome]
        records = [record for record in group if record is not None]
        n_steps = sum(record.n_steps for record in records)
        seconds = sum(record.seconds for record in records)
        spent = (f"{n_steps:,}", duration(seconds)) if records else ("not recorded", "")
        if group:
            rows.append((_OUTCOMES.get(outcome, outcome), f"{len(group):,}", *spent))
    return tuple(rows)


def _errors(study: optuna.Study) -> tuple[str, ...]:
    numbers: dict[str, list[int]] = {}
    for trial in trials_of(study):
        if ERROR in trial.user_attrs:
            numbers.setdefault(str(trial.user_attrs[ERROR]), []).append(trial.number)
    lines = [
        f"{error} (trial {', '.join(map(str, of[:_N_SHOWN]))}{' …' if len(of) > _N_SHOWN else ''})"
        for error, of in numbers.items()
    ]
    if len(lines) > _N_SHOWN:
        lines = [*lines[:_N_SHOWN], f"{len(lines) - _N_SHOWN} other errors"]
    return tuple(lines)


def setting_section(
    study: optuna.Study, config: StudyConfig | None, result: StudyResult
) -> Section:
    """Say what was run: algorithm, environment, evaluation, seeds, versions, search space.

    Args:
        config: Its configuration; None for a study of another tool.
        result: What is known; its runs know their versions.
    """
    blocks: list[Block] = []
    if CONFIG not in study.user_attrs:
        sentence = (
            "This study carries no configuration: it was made by another tool, and what its "
            "trials were trained on is not known."
        )
        if config is not None:
            sentence += " The settings below are those of the re-evaluation."
        blocks.append(Text(sentence))
    if config is not None:
        blocks += [
            Table(("what", "value"), _settings(config)),
            Text(
                f"Root seed {config.seed}. All others derive from it by numpy's SeedSequence, in "
                "streams that share no number:"
            ),
            Table(("stream", "first seeds"), _seeds(config)),
        ]
    blocks += [
        *_versions(study, result),
        Text("The search space, as its trials sampled it:"),
        *_space(study),
    ]
    if config is not None:
        text = format_yaml(config.model_dump(mode="json"))
        blocks.append(Code(text, "Configuration"))
    return Section("What was run", tuple(blocks))


def _settings(config: StudyConfig) -> tuple[tuple[str, str], ...]:
    action = "sampled" if config.stochastic_eval else "most likely"
    episodes = plural(config.test_episodes, "episode")
    rows = [
        ("algorithm", config.algo),
        ("environment", config.env),
        ("budget T of one run", f"{config.n_timesteps:,} environment steps"),
        ("training environments", str(config.n_envs)),
        ("evaluation", f"{config.n_evaluations} a run"),
        ("episodes of one", f"{config.n_eval_episodes}, {action} actions"),
        ("maximised", config.metric or "return"),
        ("trial value", f"{config.score} of the learning curve"),
        ("normalize", "yes" if config.normalize else "no"),
        ("sampler, pruner", f"{config.sampler}, {config.pruner}"),
        ("trials wanted", str(config.n_trials)),
        ("test", f"{plural(config.test_seeds, 'training seed')}, {episodes} each"),
    ]  # fmt: skip
    extras = {"wrapper": config.wrapper, "callbacks": config.callbacks, "fixed": config.fixed,
              "env_kwargs": config.env_kwargs, "policy_kwargs": config.policy_kwargs,
              "space": config.space}  # fmt: skip
    return (*rows, *((name, readable(value)) for name, value in extras.items() if value))


def _seeds(config: StudyConfig) -> tuple[tuple[str, str], ...]:
    return tuple(
        (use, ", ".join(str(derive_seed(config.seed, stream, i)) for i in range(3)) + ", …")
        for stream, use in _STREAMS.items()
    )


def _versions(study: optuna.Study, result: StudyResult) -> list[Block]:
    records = [record for trial in trials_of(study) if (record := record_of(trial))]
    for tested in (result.winner, result.default):
        records += [run.record for run in tested.runs] if tested else []
    sets = {tuple(sorted(record.versions.items())) for record in records}
    if not sets:
        return [Text("Versions: not recorded.")]
    names = sorted({name for versions in sets for name, _ in versions})
    columns = [dict(versions) for versions in sorted(sets)[:_N_SHOWN]]
    rows = tuple((name, *(column.get(name, "-") for column in columns)) for name in names)
    caution = [] if len(sets) == 1 else [Text("Not all runs had the same versions:")]
    return [*caution, Table(("package", *["version"] * len(columns)), rows)]


def _space(study: optuna.Study) -> list[Block]:
    seen: dict[str, list[BaseDistribution]] = {}
    for trial in trials_of(study):
        for name, distribution in trial.distributions.items():
            known = seen.setdefault(name, [])
            if distribution not in known:
                known.append(distribution)
    if not seen:
        return [Text("No trial has sampled anything yet.")]
    rows = [
        (name, *_range(distribution)) for name, known in seen.items() for distribution in known
    ]
    return [Table(("dimension", "range", "scale"), tuple(rows))]


def _range(distribution: BaseDistribution) -> tuple[str, str]:
    if isinstance(distribution, CategoricalDistribution):
        return ", ".join(map(str, distribution.choices)), "choice"
    if not isinstance(distribution, FloatDistribution | IntDistribution):
        raise TypeError(f"{distribution} is none of Optuna's distributions")
    scale = "log" if distribution.log else "linear"
    if isinstance(distribution, IntDistribution):
        scale += ", whole numbers"
    if distribution.step not in (None, 1):
        scale += f", step {distribution.step:g}"
    return f"{distribution.low:g} to {distribution.high:g}", scale
