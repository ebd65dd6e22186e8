"""What a user writes: `make types` checks it, strictly, against our types; nobody runs it."""

from __future__ import annotations

import sys

import optuna  # noqa: TC002 - as users write it

from sb3_hpo import TuningResult, load_best, tune


def space(trial: optuna.Trial) -> dict[str, float]:
    return {"gamma": trial.suggest_float("gamma", 0.9, 0.99)}


def main() -> float:
    result: TuningResult = tune("ppo", "Pendulum-v1", n_trials=4, timeout="10m", space=space)
    assert result.reevaluated is not None
    model = result.model()
    action, _ = model.predict(result.make_env().reset())  # type: ignore[arg-type]
    kwargs = load_best(result.run_dir).build_kwargs()
    sys.stdout.write(f"{result.best.title} {action} {kwargs} {result.study.best_value}")
    return result.reevaluated.iqm.value
