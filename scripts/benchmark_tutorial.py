"""PPO tuned as Optuna's and SB3's tutorials do it: one process, one study, one file.

    python scripts/benchmark_tutorial.py --env Pendulum-v1 --storage study.journal --timeout 300

Nothing of sb3_hpo is in it. The search space, TPE, the median pruner, two evaluations of ten
episodes by a callback that counts its calls, and the last mean return as the trial's value are
those of the tutorials. Added is what a comparison needs: a journal instead of memory, and each
trial's environment steps as its attribute `trained_steps`. torch has its default number of
threads, as in the notebooks; with `--n-threads 1` one, as in Optuna's own example.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

if TYPE_CHECKING:
    from collections.abc import Sequence

N_ENVS = 5
N_EVALUATIONS = 2
N_EVAL_EPISODES = 10
N_STARTUP_TRIALS = 5
TRAINED_STEPS = "trained_steps"


def sample(trial: optuna.trial.BaseTrial) -> dict[str, Any]:
    """Return keyword arguments of PPO.

    Args:
        trial: A trial, or an `optuna.trial.FixedTrial` to repeat one.
    """
    from torch import nn

    gamma = 1 - trial.suggest_float("gamma", 1e-4, 0.1, log=True)
    max_grad_norm = trial.suggest_float("max_grad_norm", 0.3, 5.0, log=True)
    gae_lambda = 1 - trial.suggest_float("gae_lambda", 1e-3, 0.2, log=True)
    n_steps = 2 ** trial.suggest_int("exponent_n_steps", 3, 10)
    learning_rate = trial.suggest_float("learning_rate", 1e-5, 1.0, log=True)
    ent_coef = trial.suggest_float("ent_coef", 1e-8, 0.1, log=True)
    net_arch = trial.suggest_categorical("net_arch", ["tiny", "small"])
    activation = trial.suggest_categorical("activation_fn", ["tanh", "relu"])
    layers = {"tiny": [64], "small": [64, 64]}[net_arch]
    return {
        "n_steps": n_steps,
        "gamma": gamma,
        "gae_lambda": gae_lambda,
        "learning_rate": learning_rate,
        "ent_coef": ent_coef,
        "max_grad_norm": max_grad_norm,
        "policy_kwargs": {
            "net_arch": {"pi": layers, "vf": list(layers)},
            "activation_fn": {"tanh": nn.Tanh, "relu": nn.ReLU}[activation],
        },
    }


def objective(trial: optuna.Trial, env: str, n_timesteps: int) -> float:
    """Train a trial's sample.

    Args:
        env: Id of the environment.

    Returns:
        The last mean return; NaN, which fails the trial, if the policy became NaN.

    Raises:
        optuna.TrialPruned: The pruner says so.
    """
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.env_util import make_vec_env

    class TrialCallback(EvalCallback):
        """Evaluates, reports and asks the pruner."""

        n_done, is_pruned = 0, False

        def _on_step(self) -> bool:
            go_on = super()._on_step()
            if self.n_calls % self.eval_freq == 0:
                self.n_done += 1
                trial.report(self.last_mean_reward, self.n_done)
                self.is_pruned = trial.should_prune()
            return go_on and not self.is_pruned

    envs, eval_envs = make_vec_env(env, n_envs=N_ENVS), make_vec_env(env, n_envs=N_ENVS)
    callback = TrialCallback(
        eval_envs,
        n_eval_episodes=N_EVAL_EPISODES,
        eval_freq=max(n_timesteps // N_EVALUATIONS // N_ENVS, 1),
        verbose=0,
    )
    model = PPO("MlpPolicy", envs, device="cpu", **sample(trial))
    try:
        model.learn(n_timesteps, callback=callback)
    except (AssertionError, ValueError) as error:  # NaN in the policy's distribution
        print(error)
        return float("nan")
    finally:
        trial.set_user_attr(TRAINED_STEPS, model.num_timesteps)
        envs.close()
        eval_envs.close()
    if callback.is_pruned:
        raise optuna.TrialPruned
    return float(callback.last_mean_reward)


def main(argv: Sequence[str] | None = None) -> int:
    """Search until the time is over; the trial that then runs comes to its end.

    Args:
        argv: The command line.

    Returns:
        0.
    """
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--env", required=True)
    parser.add_argument("--n-timesteps", type=int, default=40_000)
    parser.add_argument("--storage", required=True, help="journal file")
    parser.add_argument("--timeout", type=float, required=True, help="seconds")
    parser.add_argument("--seed", type=int, default=0, help="of TPE; training is not seeded")
    parser.add_argument("--n-threads", type=int, help="of torch (default: torch's own)")
    arguments = parser.parse_args(argv)
    if arguments.n_threads is not None:
        import torch

        torch.set_num_threads(arguments.n_threads)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(arguments.storage)),
        sampler=optuna.samplers.TPESampler(n_startup_trials=N_STARTUP_TRIALS, seed=arguments.seed),
        pruner=optuna.pruners.MedianPruner(
            n_startup_trials=N_STARTUP_TRIALS, n_warmup_steps=N_EVALUATIONS // 3
        ),
        direction="maximize",
    )
    study.optimize(
        lambda trial: objective(trial, arguments.env, arguments.n_timesteps),
        timeout=arguments.timeout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
