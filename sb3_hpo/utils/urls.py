"""Addresses that hold passwords: the one place that knows where in a URL these can stand."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from sb3_hpo.utils.errors import UserError

HIDDEN = "***"  # instead of a password, and of who it belongs to
_URL = re.compile(r"(\s*\w[\w+]*)://(.*)", re.DOTALL)  # with whatever signs are in its password
_URL_IN_TEXT = re.compile(r"(\w[\w+]*)://(\S+)")
_SECRET_KEY = re.compile(r"pass(?!file)|pwd|secret|token", re.IGNORECASE)


def scrub(text: str) -> str:
    """Hide the user, the password and the secret options of every URL in a text.

    Args:
        text: A URL, or a message that may have some.

    Returns:
        The text, safe to be printed and stored.

    >>> scrub("redis://me:secret@host:6379/0"), scrub("mysql://host/db?user=me&passwd=secret")
    ('redis://***@host:6379/0', 'mysql://host/db?user=me&passwd=***')
    """
    if (url := _URL.fullmatch(text)) is not None:
        return _scrubbed(url)
    return _URL_IN_TEXT.sub(_scrubbed, text)


def _scrubbed(url: re.Match[str]) -> str:
    scheme, rest = url[1], url[2]
    if not _is_of_a_file(scheme):
        rest = re.sub(r"(?s).*@", f"{HIDDEN}@", rest)  # the last one, in case there are several
    address, mark, options = rest.partition("?")
    pairs = (pair.partition("=") for pair in options.split("&"))
    shown = (
        f"{key}={HIDDEN}" if _SECRET_KEY.search(unquote_plus(key)) else f"{key}{equals}{value}"
        for key, equals, value in pairs
    )
    return f"{scheme}://{address}{mark}{'&'.join(shown)}"


def check_url(url: str) -> None:
    """Refuse a URL whose password cannot be told from its host.

    Raises:
        UserError: A sign that separates the parts of a URL stands in a part.
    """
    scheme, _, rest = url.partition("://")
    if _is_of_a_file(scheme):
        return
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if rest.count("@") > authority.count("@") or authority.count("@") > 1:
        raise UserError(
            f"storage: `@`, `/`, `?` and `#` must be encoded in a user name or password, but "
            f"{scrub(url)} has one of them there: write %40 for @, %2F for /, %3F for ?, %23 "
            "for # (and %25 for %)"
        )


def _is_of_a_file(scheme: str) -> bool:
    return scheme.partition("+")[0] == "sqlite"  # whose path may have an @
