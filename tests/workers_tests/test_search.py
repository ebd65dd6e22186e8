from __future__ import annotations

import io
import signal

import pytest
from optuna.trial import TrialState, create_trial
from rich.console import Console

from sb3_hpo.results.trials import STOP, STOPPED
from sb3_hpo.workers.pool import WorkersResult
from sb3_hpo.workers.search import _say_why_it_ended
from tests.support.reevaluations import small_config, study_of


@pytest.mark.parametrize(
    ("ended", "is_over", "stop", "status", "text"),
    [
        (WorkersResult(), True, None, 0, "The search ends: the study's --timeout is over."),
        (WorkersResult(), False, None, 1, "Given up: its workers ended without saying why"),
        (WorkersResult(), False, STOPPED, 0, "The search ends: stopped with --stop."),
        (
            WorkersResult(), False, "--stop-at 475 is reached: trial 3 has the value 480.5", 0,
            ("The search ends: --stop-at 475 is reached: trial 3 has the value 480.5. The best of "
            "many noisy numbers proves nothing alone: the re-evaluation trains the best trials "
            "again from fresh seeds. To search on: a larger --stop-at.\n"),
        ),
        (
            WorkersResult(), False, "--stop-after 2 is reached: trial 3 has the value 9", 0,
            "The search ends: --stop-after 2 is reached: trial 3 has the value 9. The best of",
        ),
        (WorkersResult(problem="worker 0 died"), False, None, 1, "Given up: worker 0 died"),
        (WorkersResult(signal=signal.SIGTERM), True, None, 143, "Interrupted;"),
    ],
)  # fmt: skip
def test_end_of_a_search_has_its_true_reason(
    ended: WorkersResult, is_over: bool, stop: str | None, status: int, text: str
) -> None:
    study = study_of([create_trial(state=TrialState.PRUNED)])
    study.set_user_attr(STOP, stop)
    file = io.StringIO()
    console = Console(file=file, width=400)
    config = small_config(n_trials=9)
    assert _say_why_it_ended(study, config, ended, console, is_over=is_over) == status
    assert file.getvalue().startswith(text)
