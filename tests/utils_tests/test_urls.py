from __future__ import annotations

import re

import pytest

from sb3_hpo.utils.errors import UserError
from sb3_hpo.utils.urls import check_url, scrub

CANARY = "c4nary"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"redis://:{CANARY}@h:6379/0", "redis://***@h:6379/0"),
        (f"rediss://u:{CANARY}@h", "rediss://***@h"),
        (f"redis://h/0?username=u&password={CANARY}", "redis://h/0?username=u&password=***"),
        (f"grpc://u:{CANARY}@h:1", "grpc://***@h:1"),
        (f"postgresql+psycopg://u:{CANARY}@h/db?sslmode=require",
         "postgresql+psycopg://***@h/db?sslmode=require"),
        (f"postgresql:///db?host=h&PASSWORD={CANARY}&user=u",
         "postgresql:///db?host=h&PASSWORD=***&user=u"),
        (f"postgresql://h/db?%70assword={CANARY}", "postgresql://h/db?%70assword=***"),
        (f"mysql://h/db?passwd={CANARY}", "mysql://h/db?passwd=***"),
        (f"postgresql://h/db?sslpassword={CANARY}", "postgresql://h/db?sslpassword=***"),
        (f"postgresql://u:{CANARY}@x/y@h/db", "postgresql://***@h/db"),
        (f"postgresql://u:{CANARY}/1?@h/db", "postgresql://***@h/db"),
        (f"postgresql://u:{CANARY}'{CANARY} \"{CANARY}@h/db", "postgresql://***@h/db"),
        (f" redis://u:{CANARY} {CANARY}@h", " redis://***@h"),
        (f"see redis://u:{CANARY}'{CANARY}@h for it", "see redis://***@h for it"),
        (f"cannot open mysql://u:{CANARY}@h/db: no route to b@c",
         "cannot open mysql://***@h/db: no route to b@c"),
        (f'{{"a": "redis://u:{CANARY}@h", "b": "x@y"}}', '{"a": "redis://***@h", "b": "x@y"}'),
    ],
)  # fmt: skip
def test_scrub_hides_passwords(text: str, shown: str) -> None:
    assert scrub(text) == shown
    assert CANARY not in shown


@pytest.mark.parametrize(
    "text",
    ["sqlite:////home/me@work/study.db", "runs/a@b/study.journal", "postgresql://h:1/db",
     "postgresql://h/db?passfile=/home/me/.pgpass"],
)  # fmt: skip
def test_scrub_leaves_the_rest(text: str) -> None:
    assert scrub(text) == text


@pytest.mark.parametrize("sign", ["@", "/", "?", "#"])
@pytest.mark.parametrize("password", ["12{}34", "{}x", "x{}", "a{0}b{0}c"])
@pytest.mark.parametrize("scheme", ["postgresql", "mysql+pymysql", "redis", "grpc"])
def test_check_url_shows_how_to_encode(scheme: str, password: str, sign: str) -> None:
    url = f"{scheme}://{CANARY}:{password.format(sign)}@h:5432/db"
    code = {"@": "%40", "/": "%2F", "?": "%3F", "#": "%23"}[sign]
    with pytest.raises(UserError, match=f"{code} for {re.escape(sign)}") as caught:
        check_url(url)
    assert CANARY not in str(caught.value)
    assert password.format(sign) not in str(caught.value).partition("write")[0]
    check_url(url.replace(password.format(sign), password.format(code)))


def test_check_url_takes_a_path_with_an_at() -> None:
    check_url("sqlite:////home/me@work/study.db")
