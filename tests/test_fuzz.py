"""Random damage to all that people and programs write for us: one line, no traceback."""

from __future__ import annotations

import random
import shlex
from typing import TYPE_CHECKING

import optuna
import pytest
import yaml
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from sb3_hpo import train
from sb3_hpo.config.study_config import make_config
from sb3_hpo.doctor.__main__ import main as doctor
from sb3_hpo.envs.problem import probe_env
from sb3_hpo.export.recipe import write_recipe
from sb3_hpo.optimize import main as optimize
from sb3_hpo.reevaluation.executor import RunsResult
from sb3_hpo.report.deliver import make_recipe
from sb3_hpo.results.reevaluation_runs import ReevaluationLog
from sb3_hpo.results.study_result import read_result
from sb3_hpo.spaces.bind import bind_space
from sb3_hpo.spaces.enqueue.enqueued_point import read_enqueued
from sb3_hpo.storages.existing import find_study
from sb3_hpo.utils.console import run_command
from tests.space_syntax_tests.test_yaml_files import HYDRA_DDPG
from tests.spaces_tests.test_enqueue import ZOO_PPO
from tests.support.studies import candidates, make_result, make_runs, make_study, study_config

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Attack = Callable[[bytes], int]

# What breaks readers: signs of YAML, JSON, URLs and shells; numbers that are none; our own keys.
NASTY = [
    b"\0", b"\xff", b"\xed\xa0\x80", b"\n", b"\t", b"\r", b"{", b"}", b"[", b"]", b"&a ", b"*a",
    b"!!python/object:os.system", b"<<: ", b"- ", b": ", b"? ", b"|", b">", b"%", b"@", b"`", b"#",
    b"'", b'"', b"\\", b"/", b"..", b"~", b"://", b"?x=1", b"=", b",", b"null", b"true", b"-1",
    b"0", b"1e999", b".nan", b"-.inf", b"1" * 400, b"0x_", b"0b_", b"1_0", b"2001-99-99", b"=",
    b"$import", b"$call", b"$tuple", b"choice(", b"interval(", b"range(", b"tag(log, ", b")",
    b"()", b"lin_", b"os:system", b"--", b"--fixed.", b"--range.gamma ",
    b"\xe2\x80\xae", b"\x1b[2J",
]  # fmt: skip


def damaged(text: bytes, rng: random.Random) -> bytes:
    """Cut, double, swap or spoil one to four places."""
    for _ in range(rng.randint(1, 4)):
        i, j = sorted(rng.randint(0, len(text)) for _ in range(2))
        j = min(j, i + rng.choice([1, 5, 40]))
        text = rng.choice([
            text[:i] + text[j:],
            text[:j] + text[i:j] + text[j:],
            text[:i] + rng.choice(NASTY) + text[i:],
            text[:i] + rng.choice(NASTY) + text[j:],
        ])  # fmt: skip
    return text


def _lines_of(study: optuna.Study, tmp_path: Path) -> bytes:
    """Return a journal with the study."""
    path = tmp_path / "whole.journal"
    optuna.copy_study(
        from_study_name=study.study_name,
        from_storage=study._storage,
        to_storage=JournalStorage(JournalFileBackend(str(path))),
    )
    return path.read_bytes()


class Inputs:
    """One valid input of each kind, and what reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = study_config()
        self.study = make_study(self.config, 6)
        space_config = make_config({"algo": "ppo", "env": "Pendulum-v1"})
        self.space = bind_space(space_config, probe_env(space_config))

    def file(self, name: str, content: bytes) -> str:
        path = self.folder / name
        path.write_bytes(content)
        return str(path)

    def flags(self) -> tuple[bytes, Attack]:
        text = (
            b"--algo ppo --env Pendulum-v1 --n-timesteps 1e5 --fixed.gamma 0.9 --timeout 10m "
            b'--range.n_epochs "[4, 10]" --drop ent_coef --env-kwargs.g 9.81 --seed 3 --score '
            b"last_3 --sampler tpe --n-seeds 2 --study-name mine --normalize --no-reevaluate"
        )

        def attack(content: bytes) -> int:
            text = content.decode(errors="surrogateescape")
            try:
                words = shlex.split(text)
            except ValueError:
                words = text.split()
            return optimize([*words, "--print-config"])

        return text, attack

    def configuration(self) -> tuple[bytes, Attack]:
        text = yaml.safe_dump({**self.config.plain(), "fixed": {"gamma": 0.9}}).encode()
        return text, lambda content: optimize(
            ["--config", self.file("c.yaml", content), "--print-config"]
        )

    def space_file(self) -> tuple[bytes, Attack]:
        text = (
            b"based_on: ppo\nsize: small\ngamma: interval(0.9, 0.999)\nn_epochs: {low: 1, high: 9}"
        )
        return text + b"\npolicy_kwargs.net_arch: choice([64], [64, 64])\n", self._space("ppo")

    def hydra(self) -> tuple[bytes, Attack]:
        return HYDRA_DDPG.encode(), self._space("ddpg", "--space-prefix", "algo.hyperparams")

    def _space(self, algo: str, *words: str) -> Attack:
        def attack(content: bytes) -> int:
            path = self.file("space.yaml", content)
            command = ["--algo", algo, "--env", "Pendulum-v1", "--space", path, *words]
            return optimize([*command, "--print-config"])

        return attack

    def zoo(self) -> tuple[bytes, Attack]:
        def attack(content: bytes) -> int:
            path = self.folder / "zoo.yml"
            path.write_bytes(content)
            return run_command(lambda: len(read_enqueued(path, self.space).params) * 0)

        return ZOO_PPO.encode(), attack

    def recipe(self) -> tuple[bytes, Attack]:
        recipe = make_recipe(self.study, self.config, make_result(self.study, self.config))
        assert recipe is not None
        write_recipe(self.folder / "best.yaml", recipe)
        return (self.folder / "best.yaml").read_bytes(), lambda content: train.main(
            [self.file("best.yaml", content)]
        )

    def url(self) -> tuple[bytes, Attack]:
        text = b"postgresql+psycopg://me:secret@localhost:1/db?connect_timeout=1&sslmode=prefer"
        return text, lambda content: doctor(["--", content.decode(errors="replace")])

    def reevaluation(self) -> tuple[bytes, Attack]:
        path = self.folder / "reevaluation.jsonl"
        log = ReevaluationLog(path)
        for run in make_runs(self.study, self.config)[:4]:
            log.append(run)
        log.choose(candidates(self.study, 1)[0])
        text = path.read_bytes()

        def attack(content: bytes) -> int:
            path.write_bytes(content)
            read_result(self.study, self.config, log.read(), log.winner())
            return 0

        return text, attack

    def journal(self) -> tuple[bytes, Attack]:
        def attack(content: bytes) -> int:
            path = self.file("study.journal", content)
            statuses = [
                doctor([path]),
                run_command(lambda: len(find_study(path).trials) * 0),
                doctor([path, "--fix"]),
                doctor([path]),
            ]
            assert set(statuses) <= {0, 1, 2}
            return statuses[-1]

        return _lines_of(self.study, self.folder), attack


KINDS = ("flags", "configuration", "space_file", "hydra", "zoo", "recipe", "url", "reevaluation",
         "journal")  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [pytest.param(4), pytest.param(350, marks=pytest.mark.faults)])
def test_damaged_input_is_one_line(
    kind: str, n: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sb3_hpo.train.train_due", lambda *_, **__: RunsResult((), None))
    inputs = Inputs(tmp_path)
    text, attack = getattr(inputs, kind)()
    assert attack(text) in (0, 2)  # 2: no server is there
    capsys.readouterr()
    rng = random.Random(f"{kind} {n}")
    for _ in range(n):
        content = damaged(text, rng)
        try:
            status = attack(content)
        except SystemExit as end:  # argparse's --help
            status = int(end.code or 0)
        except BaseException as error:
            (tmp_path / "input").write_bytes(content)
            error.add_note(f"the input is in {tmp_path / 'input'}")
            raise
        said = capsys.readouterr().err
        assert status in (0, 1, 2), content[:300]
        assert "Traceback" not in said
        if status == 2:
            assert said.count("\n") == 1, (content[:300], said)
