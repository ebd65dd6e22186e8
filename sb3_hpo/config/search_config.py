"""What a search is: how many trials, in which space, by which method."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    FiniteFloat,
    NonNegativeInt,
    PositiveInt,
    model_validator,
)

from sb3_hpo.config.fields import (
    PRUNERS,
    SAMPLERS,
    PathText,
    Plain,
    Pruner,
    Sampler,
    Seconds,
    option,
)
from sb3_hpo.space_syntax.yaml_files import GivenSpace, read_option

Space = Annotated[str | dict[str, Any], BeforeValidator(read_option)]


class SearchConfig(BaseModel):
    """A search of the space of an algorithm."""

    n_trials: PositiveInt = option(
        "common",
        "finished trials wanted in the study, over all workers and resumes (default: 60 for ppo, "
        "100 for a2c, 40 for others)",
        changes_value=False,
    )
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
    n_seeds: PositiveInt = option(
        "search", "training seeds of each trial, whose value is their mean", 1
    )
    batch_trials: PositiveInt = option(
        "search", "trials of equal structure that a worker trains together", 1, changes_value=False
    )
    trial_timeout: Seconds | None = option(
        "search", "prune a trial after this long: 90, 5m", None, changes_value=False
    )
    stop_at: FiniteFloat | None = option(
        "search", "end the search once a trial's value reaches this; the re-evaluation follows",
        None, changes_value=False,
    )  # fmt: skip
    stop_after: PositiveInt | None = option(
        "search", "end the search after so many finished trials without a better value", None,
        changes_value=False,
    )  # fmt: skip
    space_prefix: tuple[str, ...] = option(
        "space", "leave this out at the beginning of a space file's names; repeatable", (),
        changes_value=False,
    )  # fmt: skip
    space: Space | None = option(
        "space",
        "own search space: package.module:function (file.py:function), a SearchSpace "
        "in its place, or YAML file",
        None,
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
    enqueue: tuple[PathText, ...] = option(
        "search", "YAML file with hyperparameters to try first, also RL Zoo's; repeatable", (),
        changes_value=False,
    )  # fmt: skip

    @model_validator(mode="before")
    @classmethod
    def _give_space_the_rest(cls, values: Any) -> Any:
        """Let a space file be read with the options that it is for, wherever they stand."""
        if not isinstance(values, dict) or values.get("space") is None:
            return values
        return {**values, "space": GivenSpace(values["space"], values)}
