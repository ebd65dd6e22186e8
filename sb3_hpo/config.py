"""What to run: one typed configuration for the command line, YAML files and Python."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from sb3_hpo.algorithms import ALGORITHMS, find_algorithm
from sb3_hpo.codec import build, describe
from sb3_hpo.errors import UserError, unknown_name
from sb3_hpo.references import reference
from sb3_hpo.scores import DEFAULT_SCORE, score_rule

SAMPLERS = ("tpe", "random", "gp", "cmaes", "qmc")
PRUNERS = ("quantile", "median", "percentile", "halving", "hyperband", "patient", "none")
MIN_PRUNING_EVALUATIONS = 6  # fewer leave nothing to compare after the first 30 % of a run

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def _duration(value: Any) -> Any:
    if isinstance(value, str) and (match := re.fullmatch(r"([\d.]+)([smhd])", value.strip())):
        return float(match[1]) * _SECONDS[match[2]]
    return value


def _whole(value: Any) -> Any:
    if isinstance(value, str) and re.fullmatch(r"\d+(\.\d*)?[eE]\d+", value):
        return float(value)  # 1e5, as on the command line it is text
    return value


def _one_of(kind: str, names: tuple[str, ...]) -> AfterValidator:
    def check(name: str) -> str:
        if name not in names:
            raise UserError(unknown_name(kind, name, names))
        return name

    return AfterValidator(check)


def _check_algo(name: str) -> str:
    if ":" not in name and name not in ALGORITHMS:
        raise UserError(unknown_name("algorithm", name, ALGORITHMS))
    return name


def _check_score(name: str) -> str:
    score_rule(name)
    return name


Seconds = Annotated[PositiveFloat, BeforeValidator(_duration)]
Reference = Annotated[str, BeforeValidator(reference)]
Plain = Annotated[dict[str, Any], AfterValidator(lambda values: describe(build(values)))]


def _option(group: str, text: str, default: Any = ..., *, changes_value: bool = True) -> Any:
    """Declare a field: its place and text in `--help`, and whether trial values depend on it."""
    if isinstance(default, int | float | str) and not isinstance(default, bool):
        text = f"{text} (default: {default})"
    extra: dict[str, Any] = {"group": group, "changes_value": changes_value}
    return Field(default, description=text, json_schema_extra=extra)


class TrainingConfig(BaseModel):
    """What one training run is: everything but its hyperparameters and its seed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    algo: Annotated[Reference, AfterValidator(_check_algo)] = _option(
        "common", f"algorithm: {', '.join(ALGORITHMS)}, or package.module:Class with --space"
    )
    env: Reference = _option(
        "common", "Gymnasium id, module:Id-v0, or package.module:factory (file.py:factory)"
    )
    n_timesteps: Annotated[PositiveInt, BeforeValidator(_whole)] = _option(
        "common", "environment steps of one training run (default: by algorithm)"
    )
    env_kwargs: Plain = _option(
        "environment", "an argument of the environment: --env-kwargs.g 9.81", {}
    )
    wrapper: tuple[Reference, ...] = _option(
        "environment", "package.module:Wrapper around each environment; repeatable", ()
    )
    vec_env: Literal["dummy", "subproc"] = _option(
        "environment", "training environments in this process, or each in its own", "dummy",
        changes_value=False,
    )  # fmt: skip
    n_envs: PositiveInt = _option(
        "environment", "parallel training environments (default: by algorithm)"
    )
    normalize: bool = _option(
        "environment", "VecNormalize observations and rewards, with the trial's own gamma", False
    )
    policy: str | None = _option(
        "model", "policy (default: MlpPolicy, CnnPolicy or MultiInputPolicy by observations)", None
    )
    policy_kwargs: Plain = _option(
        "model", "a policy argument, wins over a sampled one: --policy-kwargs.ortho_init false", {}
    )
    device: str | None = _option(
        "model", "torch device (default: cpu for vectors, auto for images)", None
    )
    n_threads: PositiveInt = _option(
        "model", "torch threads of one run; results depend on it, and 1 is fastest for MLPs", 1
    )
    n_evaluations: PositiveInt = _option("evaluation", "evaluations during one training run", 10)
    n_eval_episodes: PositiveInt = _option(
        "evaluation", "episodes of one evaluation; the same start states for all trials", 20
    )
    n_eval_envs: NonNegativeInt = _option(
        "evaluation",
        "parallel evaluation environments (default: min(episodes, 32)); "
        "0: evaluate in the training environments",
        changes_value=False,
    )
    stochastic_eval: bool = _option(
        "evaluation", "evaluate with sampled instead of most likely actions", False
    )
    metric: str | None = _option(
        "evaluation", "key of the last info of an episode to maximise (default: its return)", None
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any) -> Any:
        """Fill in the defaults that depend on other fields, so that no one need do it later."""
        if not isinstance(values, dict):
            return values
        filled = {key: value for key, value in values.items() if value is not None}
        try:
            name = reference(filled.get("algo", ""))
        except UserError:
            name = ""  # the field's own check will say so
        known = ":" in name or name in ALGORITHMS
        algorithm = find_algorithm(name if known else "ppo")
        filled.setdefault("n_timesteps", algorithm.n_timesteps)
        filled.setdefault("n_envs", algorithm.n_envs)
        episodes = str(filled.get("n_eval_episodes", cls.model_fields["n_eval_episodes"].default))
        filled.setdefault("n_eval_envs", min(int(episodes), 32) if episodes.isdecimal() else 1)
        return filled


class StudyConfig(TrainingConfig):
    """What one study is: a training run, a search space, and how to search it."""

    n_trials: PositiveInt = _option(
        "common",
        "finished trials wanted in the study, over all workers and resumes",
        40,
        changes_value=False,
    )
    n_workers: PositiveInt | None = _option(
        "common",
        "worker processes on this machine (default: one per CPU core)",
        None,
        changes_value=False,
    )
    timeout: Seconds | None = _option(
        "common", "end the search after this long: 600, 10m, 2h", None, changes_value=False
    )
    seed: NonNegativeInt = _option("common", "root of all random streams", 0)
    storage: str | None = _option(
        "study", "journal file (default: study.journal in the run folder)", None,
        changes_value=False,
    )  # fmt: skip
    study_name: str | None = _option(
        "study", "name (default: from everything that changes a value)", None, changes_value=False
    )
    run_dir: str | None = _option(
        "study", "folder of this run's files (default: runs/<study name>)", None,
        changes_value=False,
    )  # fmt: skip
    sampler: Annotated[str, _one_of("sampler", SAMPLERS)] = _option(
        "search", f"search method: {', '.join(SAMPLERS)}", "tpe"
    )
    n_startup_trials: NonNegativeInt = _option(
        "search", "random trials before the sampler's own", 10
    )
    pruner: Annotated[str, _one_of("pruner", PRUNERS)] = _option(
        "search", f"who ends bad trials early: {', '.join(PRUNERS)}", "quantile"
    )
    score: Annotated[Reference, AfterValidator(_check_score)] = _option(
        "search",
        "from learning curve to trial value: last_half, final, best, auc, last_<k>, "
        "package.module:function",
        DEFAULT_SCORE,
    )
    trial_timeout: Seconds | None = _option(
        "search", "prune a trial after this long: 90, 5m", None, changes_value=False
    )
    space: Reference | None = _option(
        "space", "own search space: package.module:function (file.py:function)", None
    )
    space_size: Literal["small", "default", "full"] = _option(
        "space", "how many dimensions the search space has", "default"
    )
    fixed: Plain = _option("space", "hold a parameter at a value: --fixed.gamma 0.95", {})
    enqueue: tuple[str, ...] = _option(
        "space", "YAML file with hyperparameters to try first; repeatable", (),
        changes_value=False,
    )  # fmt: skip
    tensorboard: bool = _option(
        "output", "write each trial's SB3 logs under the run folder", False, changes_value=False
    )
    verbose: bool = _option("output", "let SB3 and Optuna talk too", False, changes_value=False)
    beat_interval: Seconds = _option(
        "liveness", "a running trial shows that it makes progress this often", 30.0,
        changes_value=False,
    )  # fmt: skip
    stale_after: Seconds = _option(
        "liveness", "a trial without progress for this long is given to another worker", 300.0,
        changes_value=False,
    )  # fmt: skip

    @model_validator(mode="after")
    def _check_together(self) -> StudyConfig:
        mistakes = []
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

    def identity(self) -> dict[str, Any]:
        """Return the plain values of everything that a trial value depends on."""
        values = self.model_dump(mode="json")
        identity = {
            name: values[name]
            for name, field in type(self).model_fields.items()
            if isinstance(field.json_schema_extra, dict)
            and field.json_schema_extra["changes_value"]
        }
        # How many environments evaluate does not matter; whether training's own ones do, does.
        return identity | {"n_eval_envs": min(self.n_eval_envs, 1)}

    def name(self) -> str:
        """Return the study's name: the given one, or one made from the identity."""
        if self.study_name is not None:
            return self.study_name
        text = json.dumps(self.identity(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        parts = [re.sub(r".*[:/]", "", part) for part in (self.algo, self.env)]
        return re.sub(r"[^\w.-]", "_", f"{parts[0]}-{parts[1]}-s{self.seed}-{digest}")


def make_config(values: dict[str, Any]) -> StudyConfig:
    """Validate plain values (or Python classes and functions, where a name can stand).

    Args:
        values: Field names and values.

    Returns:
        The configuration.

    Raises:
        UserError: All mistakes in one line.

    >>> make_config({"algo": "ppo", "env": "Pendulum-v1"}).n_timesteps
    40000
    """
    try:
        return StudyConfig.model_validate(values)
    except ValidationError as error:
        raise UserError("; ".join(_sentence(item) for item in error.errors())) from error


def _sentence(error: Any) -> str:
    """Turn one of pydantic's findings into `key: what is wrong`."""
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "extra_forbidden":
        return unknown_name("key", key, StudyConfig.model_fields)
    message = re.sub(r"^Value error, ", "", error["msg"])
    if not key:
        return message
    given = "" if error["type"] in ("value_error", "missing") else f", but got {error['input']!r}"
    return f"{key}: {message}{given}"
