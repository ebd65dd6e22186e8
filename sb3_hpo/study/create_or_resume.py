"""One study: created or resumed, with its configuration inside, and its trials counted."""

from __future__ import annotations

import socket
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

import optuna

from sb3_hpo.config.study_config import StudyConfig, make_config
from sb3_hpo.results.trials import (
    CONFIG,
    DEFAULT_POINT,
    FINISHED,
    KWARGS_OVERRIDE,
    OWNER,
    SESSION_START,
    SOURCE,
    STOP,
    enqueued_point,
    trials_of,
)
from sb3_hpo.spaces.enqueue.enqueued_point import EnqueuedPoint
from sb3_hpo.storages.journal import check_free_space
from sb3_hpo.storages.study_location import CONFIG_FILE
from sb3_hpo.study.pruners import build_pruner
from sb3_hpo.study.sampling.optuna_samplers import LateSeededSampler
from sb3_hpo.utils.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sb3_hpo.spaces.bound_space import BoundSpace
    from sb3_hpo.storages.study_location import StudyLocation

_CREATOR_GRACE_S = 5.0
_CREATOR_POLL_S = 0.1


def create_or_resume(
    config: StudyConfig,
    location: StudyLocation,
    space: BoundSpace,
    points: Sequence[EnqueuedPoint] = (),
) -> optuna.Study:
    """Create the study with its first trials enqueued, or open it if it is there.

    Args:
        location: Where it lives.
        points: The user's points; those that the study has not seen yet are enqueued.

    Raises:
        UserError: It is there with another configuration; the difference is shown. Or there is no
            room for it, or no storage.
    """
    check_free_space((location.file or location.run_dir).parent, config.n_trials)
    if location.file is not None:
        location.file.parent.mkdir(parents=True, exist_ok=True)
    try:
        study = optuna.create_study(
            storage=location.open(),
            study_name=location.name,
            direction="maximize",
            sampler=LateSeededSampler(config),
            pruner=build_pruner(config),
        )
    except optuna.exceptions.DuplicatedStudyError:
        study = open_study(config, location)
        _wait_for_creator(study)
        # Without both, its creator was killed before it had written anything.
        if CONFIG in study.user_attrs or trials_of(study):
            check_same(config, study)
    location.run_dir.mkdir(parents=True, exist_ok=True)
    study.set_user_attr(CONFIG, config.plain())
    study.set_user_attr(STOP, None)
    # In Optuna's own way of noting when a trial ended: local time without a zone.
    study.set_user_attr(SESSION_START, datetime.now().isoformat())  # noqa: DTZ005
    is_new = study.user_attrs.get(OWNER) is None
    own = _first_points(space) if is_new else []
    # The user's right after the default point: a search of a few trials must come to them.
    _enqueue(study, [*own[:1], *points, *own[1:]])
    if is_new:
        study.set_user_attr(OWNER, _here(location))
    return study


def open_study(
    config: StudyConfig,
    location: StudyLocation,
    space: BoundSpace | None = None,
    *,
    waits_to_open: bool = False,
) -> optuna.Study:
    """Open an existing study with the configured sampler and pruner, which Optuna stores not.

    Args:
        location: Where it lives.
        space: The bound search space; needed to ask for trials.
        waits_to_open: Whether to wait for a storage that is away.
    """
    return optuna.load_study(
        storage=location.open(waits_to_open=waits_to_open),
        study_name=location.name,
        sampler=LateSeededSampler(config, space.dimensions if space is not None else None),
        pruner=build_pruner(config),
    )


def is_owner(study: optuna.Study, location: StudyLocation) -> bool:
    """Return whether the study's answer is to be written in this run folder.

    That is the folder where the study was created. Workers that join from another one must not
    re-evaluate the same trials again.

    Args:
        location: Where this command works.
    """
    return (
        study.user_attrs.get(OWNER) == _here(location) or (location.run_dir / CONFIG_FILE).exists()
    )


def _here(location: StudyLocation) -> dict[str, str]:
    return {"host": socket.gethostname(), "run_dir": str(location.run_dir)}


def _wait_for_creator(study: optuna.Study) -> None:
    """Let the command that creates the study at this moment enqueue its first trials."""
    give_up = time.monotonic() + _CREATOR_GRACE_S
    while study.user_attrs.get(OWNER) is None and time.monotonic() < give_up:
        if any(trial.state in FINISHED for trial in trials_of(study)):
            return  # made before studies had a home, or by another tool
        time.sleep(_CREATOR_POLL_S)


def check_same(config: StudyConfig, study: optuna.Study) -> None:
    """Refuse to go on with a study whose trial values mean something else.

    Args:
        config: The configuration now.

    Raises:
        UserError: Something that changes a value differs; both values are shown.
    """
    if CONFIG not in study.user_attrs:
        raise UserError(
            f"study {study.study_name!r} was not made by sb3_hpo; use another --study-name"
        )
    before = make_config(study.user_attrs[CONFIG], imports=False).identity()
    now = config.identity()
    differences = [
        f"{key}: {before.get(key)!r} in the study, {now.get(key)!r} now"
        for key in before | now
        if before.get(key) != now.get(key)
    ]
    if differences:
        raise UserError(
            f"study {study.study_name!r} exists with another configuration "
            f"({'; '.join(differences)}); use another --study-name, or the study's values"
        )


def _first_points(space: BoundSpace) -> list[EnqueuedPoint]:
    """Return the space's default point and its other first points."""
    points = [
        EnqueuedPoint(source="first_point", params=params, kwargs=None)
        for params in space.first_points
    ]
    if space.default_params:
        points.insert(0, EnqueuedPoint(DEFAULT_POINT, space.default_params))
    return points


def _enqueue(study: optuna.Study, points: Sequence[EnqueuedPoint]) -> None:
    """Enqueue the points that are not there yet."""
    known = [enqueued_point(trial) for trial in trials_of(study)]
    for point in points:
        if (point.source, point.params) not in known:
            attrs: dict[str, Any] = {SOURCE: point.source}
            if point.kwargs is not None:
                attrs[KWARGS_OVERRIDE] = point.kwargs
            study.enqueue_trial(point.params, user_attrs=attrs)
