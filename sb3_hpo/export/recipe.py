"""Recipes: what is needed to train a configuration again, as a file and from a study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import optuna
from optuna.trial import FrozenTrial, TrialState
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, ValidationError

from sb3_hpo.algorithms.kwargs import deserialize_kwargs
from sb3_hpo.algorithms.registry import find_algorithm
from sb3_hpo.algorithms.trust import check_trusted, named_modules, strangers
from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.config.training_config import TrainingConfig
from sb3_hpo.config.validation import say_mistakes
from sb3_hpo.results.trials import (
    CONFIG,
    FINISHED,
    best_trials,
    count_trials,
    record_of,
    trials_of,
)
from sb3_hpo.storages.existing import find_study
from sb3_hpo.storages.study_location import JOURNAL
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.files import format_yaml, read_yaml_mapping, write_atomically

BEST = "best.yaml"


class Recipe(BaseModel):
    """What is needed to train a configuration again, and where it comes from.

    Attributes:
        study: Name of the study.
        trial: Number of the trial; None where it comes from none.
        trial_value: What the study maximised; None for PRUNED trials.
        config: Environment, budget, policy, evaluation; `training` in files.
        kwargs: Description of the algorithm's arguments (`serialize_kwargs`).
        seed: Training seed of the trial.
        root_seed: The study's seed; race and test draw their streams from it.
        params: The trial's Optuna parameters.
        versions: Versions of the packages the trial was trained with.
        reevaluated: What the test said, as plain values; None before there was a test.
    """

    # Strict, as YAML has types of its own, infinity among them.
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        strict=True,
        populate_by_name=True,
        ser_json_inf_nan="constants",
    )

    study: str | None = None
    trial: NonNegativeInt | None = None
    trial_value: float | None = None
    config: Annotated[TrainingConfig, Field(alias="training", strict=False)]
    kwargs: dict[str, Any]
    seed: NonNegativeInt | None = None
    root_seed: NonNegativeInt
    params: dict[str, Any] = {}
    versions: dict[str, Any] = {}
    reevaluated: dict[str, Any] | None = None

    @property
    def title(self) -> str:
        """What it is, on one line."""
        algorithm = find_algorithm(self.config.algo).reference.rpartition(":")[2]
        parts = [] if self.trial is None else [f"trial {self.trial}"]
        parts += [] if self.study is None else [f"study {' '.join(self.study.split())}"]
        return ", ".join(
            [f"{algorithm} on {self.config.env}", *([" of ".join(parts)] if parts else [])]
        )

    def check_trusted(self, *, trust: bool = False) -> None:
        """Refuse a recipe that names code of somebody's own.

        Args:
            trust: Whether to take it all the same.

        Raises:
            UserError: It would have other modules imported than those of torch, SB3, Gymnasium.
        """
        check_trusted(self.plain(), named_modules({"trust": trust}), self.title)

    def plain(self) -> dict[str, Any]:
        """Return plain values of everything that it names."""
        return {**self.config.model_dump(mode="json"), "kwargs": self.kwargs}

    def build_kwargs(self, *, trust: bool = False) -> dict[str, Any]:
        """Return new keyword arguments for the algorithm's constructor.

        Args:
            trust: Whether to import classes and functions of other modules than torch, SB3 and
                Gymnasium. A recipe that you have from somebody else may name any code.

        Returns:
            Objects that nothing else shares: SB3 writes into the dicts it is given.

        Raises:
            UserError: A class or function of the recipe cannot be imported, or is not trusted.
        """
        check_trusted(self.kwargs, named_modules({"trust": trust}), self.title)
        built: dict[str, Any] = deserialize_kwargs(self.kwargs)
        return built


def read_recipe(path: Path) -> Recipe:
    """Read a recipe from a file that `write_recipe` or a person wrote.

    Returns:
        The recipe. Only `training`, `kwargs` and `root_seed` must be there.

    Raises:
        UserError: The file is missing or not YAML, or all mistakes in it, on one line.
    """
    if not path.exists():
        raise UserError(
            f"no file {path}; `python -m sb3_hpo.optimize` leaves a {BEST} in its run folder"
        )
    values = read_yaml_mapping(path)
    if "algo" in values and "training" not in values:
        raise UserError(f"{path} is a study's configuration; give the {BEST} beside it")
    try:
        return Recipe.model_validate(values, context={"imports": False})
    except ValidationError as error:
        keys = [field.alias or name for name, field in Recipe.model_fields.items()]
        mistakes = say_mistakes(error, {"": keys, "training": TrainingConfig.model_fields})
        raise UserError(f"{path}: {mistakes}") from error


def write_recipe(path: Path, recipe: Recipe) -> None:
    """Write a recipe as a file that says itself how to use it.

    Args:
        path: The file; its folder must exist. Readers see the old content or the new.
        recipe: The recipe; `read_recipe` gives an equal one.
    """
    config = recipe.config
    trust, trust_again = (
        " --trust" if strangers(part) else "" for part in (recipe.plain(), recipe.kwargs)
    )
    again = f"--algo {config.algo} --env {config.env} --enqueue {path.name}{trust_again}"
    lines = [
        recipe.title,
        f"Train it again:          python -m sb3_hpo.train {path.name} --seeds 3{trust}",
        f"Try it first in a study: python -m sb3_hpo.optimize {again}",
    ]
    if recipe.reevaluated is None:
        lines.append("Not re-evaluated: a trial value is the luckiest of many noisy scores.")
    header = "".join(f"# {line}\n" for line in lines)
    write_atomically(path, header + format_yaml(recipe.model_dump(mode="json", by_alias=True)))


def recipe_of(study: optuna.Study, config: StudyConfig, trial: FrozenTrial) -> Recipe:
    """Make the recipe of a trial.

    Args:
        trial: A COMPLETE or PRUNED trial that was trained.

    Raises:
        UserError: The trial was not trained to its end.
    """
    record = record_of(trial)
    if record is None or trial.state not in FINISHED:
        raise UserError(
            f"trial {trial.number} of study {study.study_name!r} is {trial.state.name} and has no "
            "run to repeat; choose a COMPLETE or PRUNED one that was trained"
        )
    return Recipe(
        config=config.training(),
        kwargs=record.kwargs,
        root_seed=config.seed,
        study=study.study_name,
        trial=trial.number,
        # Optuna gives PRUNED trials their last report as a value; it is no trial value.
        trial_value=trial.value if trial.state is TrialState.COMPLETE else None,
        seed=record.seed,
        params=dict(trial.params),
        versions=dict(record.versions),
    )


def load_best(study: optuna.Study | str | Path, study_name: str | None = None) -> Recipe:
    """Return the recipe of a study's answer.

    Args:
        study: A run folder or a `best.yaml`, which hold the re-evaluated answer; or a study of
            sb3_hpo, or its journal file. For these two the answer is the `best.yaml` of the
            study's run folder where that is found and re-evaluated, and otherwise the trial with
            the best value, which is mostly lucky: `reevaluated` is None then.
        study_name: Which study of the journal, where it holds several.

    Raises:
        UserError: There is no such file, no COMPLETE trial, or the study is another tool's.
    """
    if isinstance(study, optuna.Study):
        return _best_of(study, None)
    path = Path(study).expanduser()
    if path.is_dir():
        if not (path / BEST).exists() and (path / JOURNAL).exists():
            raise UserError(
                f"no {BEST} in {path}: its study has not ended; "
                f"give {path / JOURNAL} for the best trial so far"
            )
        return read_recipe(path / BEST)
    if path.suffix in (".yaml", ".yml"):
        return read_recipe(path)
    return _best_of(find_study(str(study), study_name), path.parent)


def load_trial(
    study: optuna.Study | str | Path, number: int, study_name: str | None = None
) -> Recipe:
    """Return the recipe of one trial.

    Args:
        study: A study of sb3_hpo, its run folder, or its journal file.
        number: The trial's number, from 0.
        study_name: Which study of the journal, where it holds several.

    Raises:
        UserError: There is no such file or trial, or the study is another tool's.
    """
    if not isinstance(study, optuna.Study):
        path = Path(study).expanduser()
        if path.suffix in (".yaml", ".yml"):
            raise UserError(f"{path} holds one recipe: use load_best, or give the run folder")
        study = find_study(str(study), study_name)
    config = _config_of(study)
    trials = trials_of(study)
    if not 0 <= number < len(trials):
        there = f"trials 0 to {len(trials) - 1}" if trials else "no trials yet"
        raise UserError(f"study {study.study_name!r} has no trial {number}: it has {there}")
    return recipe_of(study, config, trials[number])


def _config_of(study: optuna.Study) -> StudyConfig:
    if CONFIG not in study.user_attrs:
        raise UserError(
            f"study {study.study_name!r} was not made by sb3_hpo: params alone do not say how it "
            "was trained (environment, budget, seeds)"
        )
    return make_config(study.user_attrs[CONFIG], imports=False)


def _best_of(study: optuna.Study, folder: Path | None) -> Recipe:
    config = _config_of(study)
    best = best_trials(study, 1)
    if not best:
        counts = count_trials(trials_of(study))
        raise UserError(
            f"study {study.study_name!r} has no COMPLETE trial yet "
            f"({counts.running} running, {counts.pruned + counts.infeasible} pruned)"
        )
    # The command's own default; only a look-up, so it may be relative to another folder.
    run_dir = folder or Path(config.run_dir or Path("runs") / study.study_name).expanduser()
    if (run_dir / BEST).exists():
        result = read_recipe(run_dir / BEST)
        if result.study == study.study_name and result.reevaluated is not None:
            return result
    return recipe_of(study, config, best[0])
