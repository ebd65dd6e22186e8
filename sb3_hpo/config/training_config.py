"""What one training run needs, but for its hyperparameters and its seed."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    NonNegativeInt,
    PositiveInt,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from sb3_hpo.algorithms.registry import ALGORITHMS, find_algorithm, known_algorithm
from sb3_hpo.config.fields import (
    Algorithm,
    Callbacks,
    Kwargs,
    Reference,
    Steps,
    changes_value,
    option,
)


class TrainingConfig(BaseModel):
    """What one training run is: everything but its hyperparameters and its seed."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())

    algo: Algorithm = option(
        "common", f"algorithm: {', '.join(ALGORITHMS)}, or package.module:Class with --space"
    )
    env: Reference = option(
        "common", "Gymnasium id, module:Id-v0, or package.module:factory (file.py:factory)"
    )
    n_timesteps: Steps = option(
        "common", "environment steps of one training run (default: by algorithm)"
    )
    env_kwargs: Kwargs = option(
        "environment", "an argument of the environment: --env-kwargs.g 9.81", {}
    )
    wrapper: tuple[Reference, ...] = option(
        "environment", "package.module:Wrapper around each environment; repeatable", ()
    )
    vec_env: Literal["dummy", "subproc"] = option(
        "environment", "training environments in this process, or each in its own", "dummy",
        changes_value=False,
    )  # fmt: skip
    n_envs: PositiveInt = option(
        "environment", "parallel training environments (default: by algorithm)"
    )
    normalize: bool = option(
        "environment", "VecNormalize observations and rewards, with the trial's own gamma", False
    )
    frame_stack: PositiveInt = option(
        "environment", "let the agent see its last observations, this many", 1
    )
    her: bool = option("environment", "hindsight experience replay, for goal environments", False)
    policy: str | None = option(
        "model", "policy (default: the Mlp, Cnn or MultiInput one, by observations)", None
    )
    policy_kwargs: Kwargs = option(
        "model", "a policy argument, wins over a sampled one: --policy-kwargs.ortho_init false", {}
    )
    device: str | None = option(
        "model", "torch device (default: cpu for vectors, auto for images)", None
    )
    n_threads: PositiveInt = option(
        "model", "torch threads of one run; results depend on it, and 1 is fastest for MLPs", 1
    )
    exact: bool = option(
        "model",
        "train each run by SB3 alone, bit for bit; without it, equal up to rounding and faster",
        False,
    )
    callbacks: Callbacks = option(
        "model",
        "SB3 callback of yours in all runs but those of SB3's default: package.module:Class "
        '(file.py:Class), or with arguments "file.py:Class: {every: 100}"; repeatable',
        (),
    )
    n_evaluations: PositiveInt = option("evaluation", "evaluations during one training run", 10)
    n_eval_episodes: PositiveInt = option(
        "evaluation", "episodes of one evaluation; the same start states for all trials", 20
    )
    n_eval_envs: NonNegativeInt = option(
        "evaluation",
        "parallel evaluation environments (default: min(episodes, 32)); "
        "0: evaluate in the training environments",
        changes_value=False,
    )
    stochastic_eval: bool = option(
        "evaluation", "evaluate with sampled instead of most likely actions", False
    )
    metric: str | None = option(
        "evaluation", "key of the last info of an episode to maximise (default: its return)", None
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_defaults(cls, values: Any) -> Any:
        """Fill in the defaults that depend on other fields, so that no one need do it later."""
        if not isinstance(values, dict):
            return values
        filled = {key: value for key, value in values.items() if value is not None}
        # Of one that is not known the field's own check will say so.
        algorithm = find_algorithm(known_algorithm(filled.get("algo")) or "ppo")
        for field in ("n_timesteps", "n_envs", "n_trials"):
            if field in cls.model_fields:
                filled.setdefault(field, getattr(algorithm, field))
        episodes = str(filled.get("n_eval_episodes", cls.model_fields["n_eval_episodes"].default))
        filled.setdefault("n_eval_envs", min(int(episodes), 32) if episodes.isdecimal() else 1)
        return filled

    @model_serializer(mode="wrap")
    def _leave_out_no_callbacks(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Write what earlier versions have written, whose studies and runs are gone on with."""
        values: dict[str, Any] = serialize(self)
        if not values.get("callbacks"):
            values.pop("callbacks", None)
        return values

    def training_identity(self) -> dict[str, Any]:
        """Return the plain values of everything that one run's numbers depend on."""
        values = self.model_dump(mode="json")
        identity = {
            name: values[name]
            for name, field in TrainingConfig.model_fields.items()
            if name in values and changes_value(field)
        }
        # How many environments evaluate does not matter; whether training's own ones do, does.
        return identity | {"n_eval_envs": min(self.n_eval_envs, 1)}
