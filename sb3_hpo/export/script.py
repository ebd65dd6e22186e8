"""A recipe for people without this package: a script that trains it with SB3 alone."""

from __future__ import annotations

import inspect
import textwrap
from typing import TYPE_CHECKING, Any

from sb3_hpo.algorithms.kwargs import COSINE
from sb3_hpo.algorithms.registry import ALGORITHMS, find_algorithm
from sb3_hpo.export.python_source import Call, Code, Imports, comment, write
from sb3_hpo.scoring.statistics import MIN_SEEDS
from sb3_hpo.utils.formatting import interval, number
from sb3_hpo.utils.import_strings import ENV_ID, load_reference

if TYPE_CHECKING:
    from sb3_hpo.config.training_config import TrainingConfig
    from sb3_hpo.export.recipe import Recipe

SCRIPT = "train_best.py"
_N_EPISODES = 100  # of the script's evaluation
_TAKEN = (
    "env", "eval_env", "gym", "make_env", "mean", "model", "note", "np", "runpy", "seed", "std",
    "step", "sys", "torch", "values",
)  # fmt: skip
_ENV_UTIL = "stable_baselines3.common.env_util"
_EVALUATION = "stable_baselines3.common.evaluation"
_MASKED_EVALUATION = "sb3_contrib.common.maskable.evaluation"
_VEC_ENV = "stable_baselines3.common.vec_env"


def training_script(recipe: Recipe, policy: str, device: str) -> str:
    """Write a script that trains and evaluates a recipe with Stable-Baselines3 alone.

    Args:
        policy: Name of the policy class, as training chooses it (`models.choose_policy`).
        device: Torch device, likewise (`models.choose_device`).

    Returns:
        The script. It finds the user's own modules where this process finds them: in the
        current folder, in the file named, or installed. The same seed gives the policy that
        `training.train` gives with `exact`, which differs from a run in traced graphs or in a
        batch by the rounding of sums, unless that evaluates in its training environments.
    """
    config, imports = recipe.config, Imports(_TAKEN)
    calls = {value["$call"] for value in recipe.kwargs.values() if is_call(value)}
    schedule = imports.copy(COSINE) if COSINE in calls else ""
    imports.module("sys")
    imports.module("torch")
    made, definition = _environment(config, imports)
    evaluation, function = _evaluation(recipe, made, imports)
    main = "\n".join([*_training(recipe, made, imports, policy, device), "", *evaluation])
    if config.vec_env == "subproc":  # its processes import the script again
        main = f'if __name__ == "__main__":\n{textwrap.indent(main, "    ")}'
    head = comment([*about(recipe), f"Usage: python {SCRIPT} [seed]"]) + imports.text()
    settings = (
        "seed = int(sys.argv[1]) if len(sys.argv) > 1 else 0\n"
        f"torch.set_num_threads({config.n_threads})  # results depend on it"
    )
    functions = [text for text in (schedule, definition, function) if text]
    between = "\n\n\n" if functions else "\n\n"  # as formatters have it
    return between.join([f"{head}\n\n{settings}", *functions, main]) + "\n"


def is_call(value: Any) -> bool:
    """Tell whether a description stands for an object, by its class and arguments."""
    return isinstance(value, dict) and "$call" in value


def about(recipe: Recipe) -> list[str]:
    """Return what a reader should know of a recipe, a line each."""
    lines = [recipe.title]
    result = recipe.reevaluated or {}
    if "iqm" in result and "n_seeds" in result:
        iqm, ends = result["iqm"], result.get("iqm_interval")
        if isinstance(iqm, list):  # as files had it before 0.2: with an interval of any few seeds
            iqm, *ends = iqm
            ends = ends if result["n_seeds"] >= MIN_SEEDS else None
        line = f"Re-evaluated on {result['n_seeds']} fresh training seeds: IQM {number(iqm)}"
        if ends is not None:
            line += f", 95 % interval {interval(tuple(ends))}"
        lines.append(line)
    if recipe.versions:
        versions = ", ".join(f"{name} {version}" for name, version in recipe.versions.items())
        lines.append(f"Trained with {versions}")
    return lines


def _environment(config: TrainingConfig, imports: Imports) -> tuple[Call, str]:
    """Write how environments are made.

    Returns:
        The arguments of `make_vec_env`, and the function they name, if one is needed: SB3 puts
        Monitor inside the wrappers it is given, training puts it outside.
    """
    module, colon, name = config.env.rpartition(":")
    maker: Any = name
    if colon and not ENV_ID.fullmatch(name):
        maker = Code(imports.name(config.env))
    elif colon:
        imports.module(module, f"  # registers {name}")
    make_vec_env = imports.name(f"{_ENV_UTIL}:make_vec_env")
    if not config.wrapper:
        kwargs = {"env_kwargs": config.env_kwargs} if config.env_kwargs else {}
        return Call(make_vec_env, (maker,), kwargs), ""
    call = Call(maker, (), config.env_kwargs)
    if not isinstance(maker, Code):
        imports.module("gymnasium", " as gym")
        call = Call("gym.make", (name,), config.env_kwargs)
    lines = [f"env = {write(call, imports.name, indent=4, used=10)}"]
    lines += [f"env = {imports.name(wrapper)}(env)" for wrapper in config.wrapper]
    body = textwrap.indent("\n".join([*lines, "return env"]), "    ")
    return Call(make_vec_env, (Code("make_env"),)), f"def make_env():\n{body}"


def _training(recipe: Recipe, made: Call, imports: Imports, policy: str, device: str) -> list[str]:
    config = recipe.config
    counts: dict[str, Any] = {"n_envs": config.n_envs}
    if config.vec_env == "subproc":
        counts["vec_env_cls"] = Code(imports.name(f"{_VEC_ENV}:SubprocVecEnv"))
    venv = Call(made.name, made.args, {**counts, **made.kwargs})
    lines = [f"env = {write(venv, imports.name, used=6)}", *_stacking("env", config, imports)]
    if config.normalize:
        kwargs = _normalize_kwargs(recipe)
        name = imports.name(f"{_VEC_ENV}:VecNormalize")
        lines.append(f"env = {write(Call(name, (Code('env'),), kwargs), imports.name)}")
    model = Call(
        imports.name(find_algorithm(config.algo).reference),
        (policy, Code("env")),
        {**recipe.kwargs, "seed": Code("seed"), "device": device},
    )
    lines += [
        f"model = {write(model, imports.name, used=8)}",
        f"model.learn({write(config.n_timesteps, imports.name)})",
        'model.save("trained_model")',
    ]
    return lines + (['env.save("trained_vecnormalize.pkl")'] if config.normalize else [])


def _stacking(name: str, config: TrainingConfig, imports: Imports) -> list[str]:
    if config.frame_stack == 1:
        return []
    stack = imports.name(f"{_VEC_ENV}:VecFrameStack")
    return [f"{name} = {stack}({name}, {config.frame_stack})"]


def _normalize_kwargs(recipe: Recipe) -> dict[str, Any]:
    """Return the discount for VecNormalize; SB3's algorithms and VecNormalize share a default."""
    if "gamma" in recipe.kwargs:
        return {"gamma": recipe.kwargs["gamma"]}
    if recipe.config.algo in ALGORITHMS:
        return {}
    parameter = inspect.signature(load_reference(recipe.config.algo)).parameters.get("gamma")
    return {} if parameter is None else {"gamma": float(parameter.default)}


def _evaluation(recipe: Recipe, made: Call, imports: Imports) -> tuple[list[str], str]:
    """Write the evaluation, and the function it needs if it is of something else than returns."""
    config = recipe.config
    lines = ["eval_env = env"]  # where only one environment can exist
    if config.n_eval_envs > 0:
        counts = {"n_envs": config.n_eval_envs, "seed": Code("1000 * (seed + 1)")}
        venv: Any = Call(made.name, made.args, {**counts, **made.kwargs})
        lines = [f"eval_env = {write(venv, imports.name, used=11)}"]
        lines += _stacking("eval_env", config, imports)
        if config.normalize:
            load = f"{imports.name(f'{_VEC_ENV}:VecNormalize')}.load"
            lines.append(f'eval_env = {load}("trained_vecnormalize.pkl", eval_env)')
    if config.normalize:
        lines += ["eval_env.training = False", "eval_env.norm_reward = False"]
    options: dict[str, Any] = {"n_eval_episodes": _N_EPISODES}
    if config.stochastic_eval:
        options["deterministic"] = False
    if config.metric is not None:
        options["callback"] = Code("note")
    masked = find_algorithm(config.algo).needs_action_masks
    evaluate = imports.name(f"{_MASKED_EVALUATION if masked else _EVALUATION}:evaluate_policy")
    call = Call(evaluate, (Code("model"), Code("eval_env")), options)
    text = f"{{mean:.2f}} +- {{std:.2f}} over {_N_EPISODES} episodes"
    if config.metric is None:
        lines.append(f"mean, std = {write(call, imports.name, used=12)}")
        return [*lines, f'print(f"seed {{seed}}: return {text}")'], ""
    metric = write(config.metric, imports.name)
    mean, std = imports.name("numpy:mean"), imports.name("numpy:std")
    lines += ["values = []", write(call, imports.name)]
    lines.append(f"mean, std = {mean}(values), {std}(values)")
    function = (
        "def note(step, _):\n"
        '    if "episode" in step["info"]:\n'
        f'        values.append(float(step["info"][{metric}]))'
    )
    return [*lines, f'print(f"seed {{seed}}:", {metric}, f"{text}")'], function
