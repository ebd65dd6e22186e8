from __future__ import annotations

import json
from dataclasses import replace

import pytest

from sb3_hpo.results.run_record import Evaluation, RunRecord

EVALUATION = Evaluation(
    nominal_step=100,
    actual_step=128,
    returns=(1.0, 2.0, 6.0),
    lengths=(10, 11, 12),
    seconds=0.25,
    truncated=True,
)
WITH_METRIC = replace(EVALUATION, nominal_step=200, metric=(0.0, 1.0, 1.0))
RECORD = RunRecord(
    seed=3,
    outcome="dropped",
    reason="dropped at step 200",
    evaluations=(EVALUATION, WITH_METRIC),
    n_steps=256,
    n_updates=20,
    seconds=1.5,
    kwargs={"gamma": 0.95, "policy_kwargs": {"net_arch": [64]}},
    n_threads=1,
    versions={"torch": "2.0"},
)


def test_run_record_through_json_is_equal() -> None:
    assert RunRecord.from_dict(json.loads(json.dumps(RECORD.to_dict()))) == RECORD


def test_run_record_without_evaluations_through_json_is_equal() -> None:
    record = replace(RECORD, evaluations=(), reason=None, outcome="finished")
    assert RunRecord.from_dict(json.loads(json.dumps(record.to_dict()))) == record


def test_evaluation_value_is_the_mean_return() -> None:
    assert EVALUATION.value == 3.0


def test_evaluation_value_with_metric_is_the_mean_metric() -> None:
    assert WITH_METRIC.value == pytest.approx(2 / 3)
