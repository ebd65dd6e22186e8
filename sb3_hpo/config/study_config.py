"""What a study adds to a training run: the search, its space, the re-evaluation."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import (
    BeforeValidator,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    field_serializer,
    model_validator,
)

from sb3_hpo.config.fields import (
    PRUNERS,
    SAMPLERS,
    Plain,
    Pruner,
    Sampler,
    Score,
    Seconds,
    changes_value,
    option,
)
from sb3_hpo.config.training_config import TrainingConfig
from sb3_hpo.scoring.score_rules import DEFAULT_SCORE
from sb3_hpo.space_syntax.yaml_files import read_option
from sb3_hpo.utils.errors import UserError, unknown_name
from sb3_hpo.utils.urls import scrub

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Space = Annotated[str | dict[str, Any], BeforeValidator(read_option)]
MIN_PRUNING_EVALUATIONS = 6  # fewer leave nothing to compare after the first 30 % of a run


class StudyConfig(TrainingConfig):
    """What one study is: a training run, a search space, and how to search it."""

    n_trials: PositiveInt = option(
        "common",
        "finished trials wanted in the study, over all workers and resumes (default: 60 for ppo, "
        "100 for a2c, 40 for others)",
        changes_value=False,
    )
    n_workers: PositiveInt | None = option(
        "common",
        "worker processes on this machine (default: one per CPU core)",
        None,
        changes_value=False,
    )
    timeout: Seconds | None = option(
        "common", "end the search after this long: 600, 10m, 2h", None, changes_value=False
    )
    seed: NonNegativeInt = option("common", "root of all random streams", 0)
    storage: str | None = option(
        "study", "journal file, or redis://, postgresql://, mysql://, grpc://, sqlite:/// "
        "(default: study.journal in the run folder)", None, changes_value=False,
    )  # fmt: skip
    storage_timeout: Seconds = option(
        "study", "wait this long for a server that is away or a disk that is full", 300.0,
        changes_value=False,
    )  # fmt: skip
    study_name: str | None = option(
        "study", "name (default: from everything that changes a value)", None, changes_value=False
    )
    run_dir: str | None = option(
        "study", "folder of this run's files (default: runs/<study name>)", None,
        changes_value=False,
    )  # fmt: skip
    rehearse: bool = option(
        "environment", "try the environment for an episode with random actions, before all else",
        True, changes_value=False,
    )  # fmt: skip
    sampler: Sampler = option(
        "search",
        f"search method: {', '.join(SAMPLERS)}, package.module:Class (or function)",
        "tpe",
    )
    n_startup_trials: NonNegativeInt = option(
        "search", "random trials before the sampler's own", 10
    )
    pruner: Pruner = option(
        "search",
        f"who ends bad trials early: {', '.join(PRUNERS)}, package.module:Class",
        "quantile",
    )
    score: Score = option(
        "search",
        "from learning curve to trial value: last_half, final, best, auc, last_<k>, "
        "or package.module:function, which takes the means of a run's evaluations (a list, in "
        "time order) and returns a finite number",
        DEFAULT_SCORE,
    )
    n_seeds: PositiveInt = option(
        "search", "training seeds of each trial, whose value is their mean", 1
    )
    batch_trials: PositiveInt = option(
        "search", "trials of equal structure that a worker trains together", 1, changes_value=False
    )
    trial_timeout: Seconds | None = option(
        "search", "prune a trial after this long: 90, 5m", None, changes_value=False
    )
    trust: bool = option(
        "space", "import also the modules that only a file or a study names: they are code", False,
        changes_value=False,
    )  # fmt: skip
    space_prefix: tuple[str, ...] = option(
        "space", "leave this out at the beginning of a space file's names; repeatable", (),
        changes_value=False,
    )  # fmt: skip
    space: Space | None = option(
        "space", "own search space: package.module:function (file.py:function), or YAML file", None
    )
    space_size: Literal["small", "default", "full"] = option(
        "space", "how many dimensions the search space has", "default"
    )
    fixed: Plain = option("space", "hold a parameter at a value: --fixed.gamma 0.95", {})
    range: Plain = option("space", 'search another range: --range.gamma "[0.9, 0.999]"', {})
    choices: Plain = option("space", 'try other values: --choices.n_epochs "[4, 10]"', {})
    drop: tuple[str, ...] = option(
        "space", "leave a parameter at SB3's default: --drop ent_coef; repeatable", ()
    )
    enqueue: tuple[str, ...] = option(
        "space", "YAML file with hyperparameters to try first, also RL Zoo's; repeatable", (),
        changes_value=False,
    )  # fmt: skip
    reevaluate: bool = option(
        "re-evaluation", "train the best trials again from fresh seeds after the search", True,
        changes_value=False,
    )  # fmt: skip
    top: PositiveInt | None = option(
        "re-evaluation", "trials that race for the answer (default: by the number of trials)",
        None, changes_value=False,
    )  # fmt: skip
    test_seeds: PositiveInt = option(
        "re-evaluation", "fresh training seeds that judge the winner", 10, changes_value=False
    )
    test_episodes: PositiveInt = option(
        "re-evaluation", "episodes that judge the final policy of each of them", 200,
        changes_value=False,
    )  # fmt: skip
    tensorboard: bool = option(
        "output", "write each trial's SB3 logs under the run folder", False, changes_value=False
    )
    verbose: bool = option("output", "let SB3 and Optuna talk too", False, changes_value=False)
    beat_interval: Seconds = option(
        "liveness", "a running trial shows that it makes progress this often", 30.0,
        changes_value=False,
    )  # fmt: skip
    stale_after: Seconds = option(
        "liveness", "a trial without progress for this long is given to another worker", 300.0,
        changes_value=False,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_together(self) -> StudyConfig:
        mistakes = [
            f"{name}: must be text without NUL, but got {value!r}"
            for name, value in self
            if any(isinstance(text, str) and "\0" in text for text in _parts(value))
        ]
        if ":" in self.algo and self.space is None:
            mistakes.append("algo: a class of your own needs its search space too: pass --space")
        if self.pruner != "none" and self.n_evaluations < MIN_PRUNING_EVALUATIONS:
            mistakes.append(
                f"n_evaluations: `n_evaluations >= {MIN_PRUNING_EVALUATIONS}` must hold when "
                f"trials are pruned, but got {self.n_evaluations}; or pass --pruner none"
            )
        if 0 < self.n_eval_episodes < self.n_eval_envs:
            mistakes.append(
                "n_eval_envs: `n_eval_envs <= n_eval_episodes` must hold, but got "
                f"(n_eval_envs={self.n_eval_envs}, n_eval_episodes={self.n_eval_episodes})"
            )
        if self.stale_after <= 2 * self.beat_interval:
            mistakes.append(
                "stale_after: must be more than twice beat_interval, but got "
                f"(stale_after={self.stale_after}, beat_interval={self.beat_interval})"
            )
        if mistakes:
            raise UserError("; ".join(mistakes))
        return self

    @field_serializer("storage")
    def _without_password(self, storage: str | None) -> str | None:
        return None if storage is None else scrub(storage)

    def plain(self) -> dict[str, Any]:
        """Return all plain values, for files and for the study: without a password."""
        return self.model_dump(mode="json")

    def training(self) -> TrainingConfig:
        """Return what one training run is."""
        values = self.model_dump(mode="json", include=set(TrainingConfig.model_fields))
        return TrainingConfig.model_validate(values, context={"imports": False})

    def identity(self) -> dict[str, Any]:
        """Return the plain values of everything that a trial value depends on."""
        values = self.model_dump(mode="json")
        searching = {
            name: values[name]
            for name, field in StudyConfig.model_fields.items()
            if name not in TrainingConfig.model_fields and changes_value(field)
        }
        return self.training_identity() | searching

    def name(self) -> str:
        """Return the study's name: the given one, or one made from the identity."""
        if self.study_name is not None:
            return self.study_name
        text = json.dumps(self.identity(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        parts = [re.sub(r".*[:/]", "", part) for part in (self.algo, self.env)]
        return re.sub(r"[^\w.-]", "_", f"{parts[0]}-{parts[1]}-s{self.seed}-{digest}")


def make_config(values: dict[str, Any], *, imports: bool = True) -> StudyConfig:
    """Validate plain values (or Python classes and functions, where a name can stand).

    Args:
        values: Field names and values.
        imports: Whether what they name is imported, to be checked; not where a study or a file
            is only read, which may be a stranger's.

    Raises:
        UserError: All mistakes in one line.

    >>> make_config({"algo": "ppo", "env": "Pendulum-v1"}).n_timesteps
    40000
    """
    try:
        return StudyConfig.model_validate(values, context={"imports": imports})
    except ValidationError as error:
        raise UserError(say_mistakes(error, {"": StudyConfig.model_fields})) from error


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)


def say_mistakes(error: ValidationError, keys: Mapping[str, Iterable[str]]) -> str:
    """Turn pydantic's findings into `key: what is wrong`, on one line.

    Args:
        error: What it found.
        keys: The keys that there are, by the key above them; `""` for the top.
    """
    return "; ".join(_sentence(item, keys) for item in error.errors())


def _sentence(error: Any, keys: Mapping[str, Iterable[str]]) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        *parents, last = map(str, error["loc"])  # which may have a dot in it
        return ": ".join([*parents, unknown_name("key", last, keys[".".join(parents)])])
    message = "missing" if error["type"] == "missing" else error["msg"]
    message = message.removeprefix("Value error, ")
    if not key:
        return message
    given = "" if error["type"] in ("value_error", "missing") else f", but got {error['input']!r}"
    return f"{key}: {message}{given}"
