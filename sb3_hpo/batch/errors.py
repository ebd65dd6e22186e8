"""Why runs cannot be trained together."""

from __future__ import annotations


class CannotBatch(Exception):  # noqa: N818 - they are trained one after the other instead
    """These runs cannot be trained together; the message says why."""
