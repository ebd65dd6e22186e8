"""A batch: members in turns, and one learner that serves them."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from sb3_hpo.training.batch.learners.learner import LEARN, signature
from sb3_hpo.training.batch.learners.registry import make_learner
from sb3_hpo.training.batch.randomness import undrawn
from sb3_hpo.training.batch.structure import CannotBatch
from sb3_hpo.training.batch.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Mapping, Sequence

    from sb3_hpo.training.batch.learners.learner import Learner
    from sb3_hpo.training.batch.turns import Request

_READY = "ready"


class Batch:
    """Runs the members of a batch to their ends."""

    def __init__(self, bodies: Sequence[Callable[[], None]]) -> None:
        """Prepare.

        Args:
            bodies: One a member: builds a model, calls `join` with it, and trains it.
        """
        self._turns = Turns(bodies)
        self._learner: Learner | None = None
        self._rows: list[int | None] = []  # which member has a row; None if it has left

    def join(self, model: Any) -> None:
        """Wait for the other members' models. To be called from a body, before `learn`.

        Args:
            model: The member's model.
        """
        self._turns.ask(_READY, model)

    def run(self) -> None:
        """Run all members to their ends.

        Raises:
            CannotBatch: The models cannot learn together; none of them has learned anything.
            BaseException: What one of the members raised, or what computes for them.
        """
        self._turns.run(self._serve, self._leave)

    def _serve(self, waiting: Mapping[int, Request]) -> Mapping[int, Any]:
        if self._learner is None:  # all of them have joined
            self._learner = self._take({i: request.payload for i, request in waiting.items()})
            return dict.fromkeys(waiting)
        try:
            return self._answer(self._learner, waiting)
        except CannotBatch as reason:  # which would say that nothing has been learned
            raise RuntimeError(f"a pass was not rehearsed, and {reason}") from reason

    def _answer(self, learner: Learner, waiting: Mapping[int, Request]) -> Mapping[int, Any]:
        self._close_ranks(learner)
        groups: dict[tuple[Any, Hashable], dict[int, Any]] = defaultdict(dict)
        for row, member in enumerate(self._rows):
            if member is not None:
                request = waiting[member]
                groups[request.what, signature(request.payload)][row] = request.payload
        acting = {key: group for key, group in groups.items() if key[0] != LEARN}
        answers: dict[int, Any] = {}
        for (name, _), group in acting.items():
            answers |= learner.act(name, group)
        if not acting:
            (group,) = groups.values()
            learner.learn(group)
            answers = dict.fromkeys(group)
        members = enumerate(self._rows)
        return {i: answers[row] for row, i in members if i is not None and row in answers}

    def _take(self, models: Mapping[int, Any]) -> Learner:
        if len({id(model.action_space) for model in models.values()}) < len(models):
            # Each model seeds it, and all draw from it.
            raise CannotBatch(
                "the environments share one action space object; make it in `__init__`"
            )
        self._rows = list(models)
        streams = [self._turns.randomness[member].numpy for member in models]
        with undrawn():
            learner = make_learner(list(models.values()), streams)
        for row in range(len(self._rows)):
            learner.install(row, self._turns.ask)
        return learner

    def _leave(self, member: int) -> None:
        if self._learner is not None and member in self._rows:
            row = self._rows.index(member)
            self._learner.release(row)
            self._rows[row] = None

    def _close_ranks(self, learner: Learner) -> None:
        """Compute no more for members that have left, once it is half of them."""
        rows = [row for row, member in enumerate(self._rows) if member is not None]
        if 2 * len(rows) <= len(self._rows):
            learner.keep(rows)
            self._rows = [self._rows[row] for row in rows]
