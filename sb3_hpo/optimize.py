"""The command `python -m sb3_hpo.optimize`, and `tune`, the same from Python."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sb3_hpo.arguments import parse_command
from sb3_hpo.config import StudyConfig, make_config
from sb3_hpo.errors import UserError
from sb3_hpo.files import format_yaml, write_atomically

if TYPE_CHECKING:
    from collections.abc import Sequence

    import optuna
    from rich.console import Console

    from sb3_hpo.workers import WorkersResult


@dataclass(frozen=True)
class TuningResult:
    """A study after its search.

    Attributes:
        study: The Optuna study, to be looked at.
        run_dir: Where its files are.
        exit_status: 0 complete or timed out, 1 given up after errors, 130 or 143 interrupted.
    """

    study: optuna.Study
    run_dir: Path
    exit_status: int


def tune(**options: Any) -> TuningResult:
    """Tune from Python what the command tunes from a shell.

    Args:
        **options: The command's options with underscores (`StudyConfig` lists them). `env`,
            `wrapper`, `space`, `algo` and `score` also take classes and functions that are
            defined at the top level of a module or script.

    Returns:
        The result. Calling it again with the same options goes on with the same study.

    Raises:
        UserError: Something about the options is wrong; nothing was written.

    Note:
        In a script, call it under `if __name__ == "__main__":`; workers import the script.
    """
    from rich.console import Console

    return _tune(make_config(options), Console())


def _tune(config: StudyConfig, console: Console) -> TuningResult:
    from sb3_hpo.progress import Progress
    from sb3_hpo.spaces import read_enqueued
    from sb3_hpo.study import Place, create_or_resume, prepare, try_model
    from sb3_hpo.trials import count_trials, trials_of
    from sb3_hpo.workers import IN_WORKER, Workers

    if IN_WORKER in os.environ:
        raise UserError(
            "a worker came upon tune() while importing your script: call it under "
            'if __name__ == "__main__":'
        )
    _quiet(verbose=config.verbose)
    deadline = None if config.timeout is None else time.time() + config.timeout
    place = Place.of(config)
    space = prepare(config)
    points = [read_enqueued(Path(path), space) for path in config.enqueue]
    try_model(config, space)
    study = create_or_resume(config, place, space, points)
    write_atomically(place.run_dir / "config.yaml", format_yaml(config.model_dump(mode="json")))
    _say(console, f"study {place.name} in {_near(place.run_dir)}")
    n_left = config.n_trials - count_trials(trials_of(study)).finished
    status = 0
    if n_left <= 0:
        _say(console, f"It is complete. For more trials: --n-trials {2 * config.n_trials}; "
                      "to start anew: another --seed or --study-name.")  # fmt: skip
        _show_answer(study, config, place.run_dir, console)
    else:
        n_workers = min(config.n_workers or _n_cores(), n_left)
        _say(console, f"{_plural(n_left, 'trial')} of {config.n_timesteps:,} steps to go, over "
                      f"{_plural(len(space.dimensions), 'dimension')}, on "
                      f"{_plural(n_workers, 'worker')}")  # fmt: skip
        with Progress(study, config.n_trials, console) as progress:
            ended = Workers(study, config, place, deadline).run(n_workers, progress.tick)
        _show_answer(study, config, place.run_dir, console)
        status = _say_why_it_ended(study, config, ended, console)
    return TuningResult(study, place.run_dir, status)


def _say_why_it_ended(
    study: optuna.Study, config: StudyConfig, ended: WorkersResult, console: Console
) -> int:
    """Say why there are not as many trials as asked for, if so; return the exit status."""
    from sb3_hpo.trials import STOP, count_trials, trials_of

    if ended.signal is not None:
        _say(console, "Interrupted; the same command goes on from here.")
        return 128 + ended.signal
    if count_trials(trials_of(study)).finished >= config.n_trials:
        return 0
    if problem := study.user_attrs.get(STOP) or ended.problem:
        _say(console, f"Given up: {problem}")
        return 1
    _say(console, "The time is over; the same command goes on from here.")
    return 0


def _show_answer(
    study: optuna.Study, config: StudyConfig, run_dir: Path, console: Console
) -> None:
    """Print and write the answer so far."""
    from sb3_hpo.report import CAUTION, best_table, summary, write_best

    _say(console, summary(study))
    if write_best(run_dir / "best.yaml", study, config) is not None:
        console.print(best_table(study))
        _say(console, CAUTION)
        _say(console, f"best.yaml, config.yaml and the workers' logs are in {_near(run_dir)}")


def _say(console: Console, text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _n_cores() -> int:
    """Return the cores this process may use, which in a container are not all there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _plural(n: int, noun: str) -> str:
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def _near(path: Path) -> Path:
    """Return the path as seen from here, if it is below here."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def _quiet(*, verbose: bool) -> None:
    import optuna

    optuna.logging.set_verbosity(optuna.logging.INFO if verbose else optuna.logging.WARNING)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        argv: The arguments; default: those of the process.

    Returns:
        The exit status: 2 for a mistake of the user, with one line on standard error.
    """
    # `python -m` puts the current folder on the path; the console script must do it itself.
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        config, print_config = parse_command(sys.argv[1:] if argv is None else argv)
        if print_config:
            print(format_yaml(config.model_dump(mode="json")), end="")
            return 0
        from rich.console import Console

        return _tune(config, Console()).exit_status
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2


def run() -> None:
    """Run the command and exit: the entry point of the console script."""
    sys.exit(main())


if __name__ == "__main__":
    run()
