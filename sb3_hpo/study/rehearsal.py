"""The environment and the score rule, tried out before they cost a training run.

In a process of its own, `try_out`: an environment that ends its process as it is imported, made or
stepped, or never comes back, does not take the command with it.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from sb3_hpo.algorithms.registry import load_algorithm
from sb3_hpo.study.try_out import STAGES
from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.processes import end_process, start_talking

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from multiprocessing.connection import Connection

    from sb3_hpo.config.study_config import StudyConfig

_POLL_S = 0.2
_PATIENCE_S = 10.0  # before the user is told what is waited for


@contextmanager
def rehearsal(config: StudyConfig, tell: Callable[[str], None]) -> Iterator[None]:
    """Rehearse while a block prepares the study, for which it makes an environment of its own.

    The block begins once an environment could be made and reset; where there can be only one
    (`n_eval_envs` 0), once that has been closed.

    Args:
        tell: Gets what the user should know.

    Raises:
        UserError: What is tried ends the process, or hangs; after the block, what does not hold
            what training needs. The block may say of an environment that cannot be made why.
    """
    if not config.rehearse:
        yield
        return
    with _started(config, tell) as other:
        if ":" not in config.algo:
            load_algorithm(config.algo)  # imports of seconds, while the other process has its own
        other.wait(until_made=config.n_eval_envs > 0)
        yield
        for text in other.conclude():
            tell(text)


def rehearse(config: StudyConfig) -> list[str]:
    """Try out what can be tried before any training, in a process of its own.

    Returns:
        What the user should know.

    Raises:
        UserError: A step, the score rule or the metric does not hold what training needs.
    """
    told: list[str] = []
    with _started(config, told.append) as other:
        return [*told, *other.conclude()]


@contextmanager
def _started(config: StudyConfig, tell: Callable[[str], None]) -> Iterator[_TryOut]:
    with tempfile.TemporaryFile() as log:
        arguments = ["--config", json.dumps(config.plain())]
        process, connection = start_talking(
            "sb3_hpo.study.try_out", arguments, n_threads=1, log=log
        )
        with connection:
            try:
                yield _TryOut(process, connection, log, tell)
            finally:
                end_process(process)


class _TryOut:
    """The other process, and what it has said."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        connection: Connection,
        log: IO[bytes],
        tell: Callable[[str], None],
    ) -> None:
        self._process, self._connection, self._log, self._tell = process, connection, log, tell
        self._stage, self._since = STAGES["start"], time.time()
        self._doing = self._stage.doing
        self._result: dict[str, Any] = {}
        self._is_told = False

    def wait(self, *, until_made: bool) -> None:
        """Wait for the end, or for an environment that has been made and reset.

        Raises:
            UserError: It ended the process, or hangs.
        """
        while not self._result and not (until_made and self._stage.is_made):
            status = self._process.poll()  # before: all that a dead one has said is there to read
            said = self._listen()
            if said is None:
                self._check_alive(status)
                self._check_time()
            elif "stage" in said:
                self._stage, self._since = STAGES[said["stage"]], said["since"]
                self._is_told = False
                self._doing = self._stage.doing.format(said["what"])
            else:
                self._result = said

    def conclude(self) -> list[str]:
        """Wait for the end; return what the user should know.

        Raises:
            UserError: Something is wrong.
        """
        self.wait(until_made=False)
        if "error" in self._result:
            raise UserError(self._result["error"])
        return list(self._result["warnings"])

    def _listen(self) -> dict[str, Any] | None:
        """Return the next word, None if there is none for a moment."""
        try:
            return self._connection.recv() if self._connection.poll(_POLL_S) else None
        except (EOFError, OSError):  # it has closed its end, and is about to be gone
            time.sleep(_POLL_S)
            return None

    def _check_alive(self, status: int | None) -> None:
        if status is None:
            return
        self._log.seek(0)
        told = self._log.read().decode(errors="replace")
        if "Traceback (most recent call last)" in told:
            raise RuntimeError(f"trying out the environment failed:\n{told}")
        how = f"exit status {status}" if status >= 0 else f"signal {-status}"
        raise UserError(
            f"{self._doing} ended its process ({how}); it must raise an exception instead"
        )

    def _check_time(self) -> None:
        elapsed = time.time() - self._since
        if elapsed > self._stage.limit_s:
            text = f"{self._doing} took longer than {self._stage.limit_s:g} s"
            if not self._stage.goes_on:
                raise UserError(f"{text}; where that is right, pass --no-rehearse")
            self._result = {"warnings": [text]}
        elif elapsed > _PATIENCE_S and not self._is_told:
            self._is_told = True
            self._tell(f"{self._doing} takes its time; waiting up to {self._stage.limit_s:g} s")
