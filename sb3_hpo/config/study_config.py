"""What a study is: a search of one algorithm on one problem, and the answer to it."""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any

from pydantic import field_serializer

from sb3_hpo.config.fields import PathText, changes_value, option
from sb3_hpo.config.reevaluation_config import ReevaluationConfig
from sb3_hpo.config.search_config import SearchConfig
from sb3_hpo.config.training_config import TrainingConfig
from sb3_hpo.config.validation import validate
from sb3_hpo.utils.urls import scrub

MIN_PRUNING_EVALUATIONS = 6  # fewer leave nothing to compare after the first 30 % of a run


class StudyConfig(SearchConfig, ReevaluationConfig):
    """A search, the re-evaluation of what it finds, and where both are kept."""

    storage: PathText | None = option(
        "study", "journal file, or redis://, postgresql://, mysql://, grpc://, sqlite:/// "
        "(default: study.journal in the run folder)", None, changes_value=False,
    )  # fmt: skip
    study_name: str | None = option(
        "study", "name (default: from everything that changes a value)", None, changes_value=False
    )
    run_dir: PathText | None = option(
        "study", "folder of this run's files (default: runs/<study name>)", None,
        changes_value=False,
    )  # fmt: skip
    rehearse: bool = option(
        "environment", "try the environment for an episode with random actions, before all else",
        True, changes_value=False,
    )  # fmt: skip
    trust: bool = option(
        "space", "import also the modules that only a file or a study names: they are code", False,
        changes_value=False,
    )  # fmt: skip
    reevaluate: bool = option(
        "re-evaluation", "train the best trials again from fresh seeds after the search", True,
        changes_value=False,
    )  # fmt: skip
    tensorboard: bool = option(
        "output", "write each trial's SB3 logs under the run folder", False, changes_value=False
    )
    verbose: bool = option("output", "let SB3 and Optuna talk too", False, changes_value=False)

    def mistakes(self) -> list[str]:
        """Return what does not go together."""
        found = super().mistakes()
        found += [
            f"{name}: must be text without NUL, but got {value!r}"
            for name, value in self
            if any(isinstance(text, str) and "\0" in text for text in _parts(value))
        ]
        if ":" in self.algo and self.space is None:
            found.append("algo: a class of your own needs its search space too: pass --space")
        if self.pruner != "none" and self.n_evaluations < MIN_PRUNING_EVALUATIONS:
            found.append(
                f"n_evaluations: `n_evaluations >= {MIN_PRUNING_EVALUATIONS}` must hold when "
                f"trials are pruned, but got {self.n_evaluations}; or pass --pruner none"
            )
        return found

    @field_serializer("storage")
    def _without_password(self, storage: str | None) -> str | None:
        return None if storage is None else scrub(storage)

    def plain(self) -> dict[str, Any]:
        """Return all plain values, for files and for the study: without a password."""
        return self.model_dump(mode="json")

    def training(self) -> TrainingConfig:
        """Return what one training run is."""
        values = self.model_dump(mode="json", include=set(TrainingConfig.model_fields))
        return validate(TrainingConfig, values, imports=False)

    def identity(self) -> dict[str, Any]:
        """Return the plain values of everything that a trial value depends on."""
        values = self.model_dump(mode="json")
        searching = {
            name: values[name]
            for name, field in StudyConfig.model_fields.items()
            if name not in TrainingConfig.model_fields and changes_value(field)
        }
        return self.training_identity() | searching

    def name(self) -> str:
        """Return the study's name: the given one, or one made from the identity."""
        if self.study_name is not None:
            return self.study_name
        text = json.dumps(self.identity(), sort_keys=True)
        digest = hashlib.sha256(text.encode()).hexdigest()[:6]
        parts = [re.sub(r".*[:/]", "", part) for part in (self.algo, self.env)]
        return re.sub(r"[^\w.-]", "_", f"{parts[0]}-{parts[1]}-s{self.seed}-{digest}")


def make_config(values: dict[str, Any], *, imports: bool = True) -> StudyConfig:
    """Validate plain values (or Python classes and functions, where a name can stand).

    Args:
        values: Field names and values.
        imports: Whether what they name is imported, to be checked; not where a study or a file
            is only read, which may be a stranger's.

    Raises:
        UserError: All mistakes in one line.

    >>> make_config({"algo": "ppo", "env": "Pendulum-v1"}).n_timesteps
    40000
    """
    return validate(StudyConfig, values, imports=imports)


def _parts(value: Any) -> tuple[Any, ...]:
    return value if isinstance(value, tuple) else (value,)
