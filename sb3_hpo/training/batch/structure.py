"""What must be equal for models to learn together, told from their descriptions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from optuna.distributions import BaseDistribution


# What enters as a number of each member, or only until its model is built.
_FREE = {
    "action_noise", "buffer_size", "clip_range", "exploration_final_eps", "exploration_fraction",
    "exploration_initial_eps", "gae_lambda", "gamma", "learning_rate", "learning_starts",
    "max_grad_norm", "policy_kwargs.log_std_init", "policy_kwargs.ortho_init",
    "target_entropy", "target_kl", "target_noise_clip", "target_policy_noise", "tau", "vf_coef",
}  # fmt: skip
_FREE_NUMBERS = {"clip_range_vf", "ent_coef"}  # but none, a number and "auto" differ
_BY_SB3 = {"dqn", "qrdqn"}  # it updates their target networks itself, whenever that is due


def structure_of(algo: str, kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a model's arguments that its companions must share.

    Args:
        algo: Name of the algorithm.
        kwargs: Description of the arguments (`serialize_kwargs`).

    Returns:
        What is left without the numbers that each member has for itself.

    >>> structure_of("ppo", {"gamma": 0.9, "n_steps": 64, "clip_range_vf": 0.2})
    {'n_steps': 64, 'clip_range_vf': 'float'}
    """
    free = _FREE | ({"target_update_interval"} if algo in _BY_SB3 else set())
    left: dict[str, Any] = {}
    for name, value in _flat(kwargs):
        if name in _FREE_NUMBERS:
            left[name] = type(value).__name__
        elif not any(name == item or name.startswith(f"{item}.") for item in free):
            left[name] = value
    return left


def structural_params(
    algo: str,
    params: Mapping[str, Any],
    distributions: Mapping[str, BaseDistribution],
    replay: Callable[[Mapping[str, Any]], Mapping[str, Any]],
) -> dict[str, Any]:
    """Find the parameters of a trial on which its structure depends, by changing each.

    Args:
        algo: Name of the algorithm.
        params: The trial's parameters.
        distributions: What they were drawn from.
        replay: From parameters to the description of the arguments; raises where a parameter is
            missing that others call for.

    Returns:
        Those that companions must have in common.
    """
    own = structure_of(algo, replay(params))

    def changes(name: str) -> bool:
        for other in _others(distributions[name], params[name]):
            try:
                changed = structure_of(algo, replay({**params, name: other}))
            except ValueError:
                return True  # another branch of the space
            if changed != own:
                return True
        return False

    return {name: value for name, value in params.items() if changes(name)}


def _others(distribution: BaseDistribution, value: Any) -> list[Any]:
    choices = getattr(distribution, "choices", None)
    if choices is None:
        low, high = distribution.low, distribution.high  # type: ignore[attr-defined]
        choices = (low, high)
    return [choice for choice in choices if choice != value]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict) and "$call" not in value:
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


class CannotBatch(Exception):  # noqa: N818 - they are trained one after the other instead
    """These runs cannot be trained together; the message says why."""
