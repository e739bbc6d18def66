"""Secrets are taken out of whatever a run leaves: a cell may print its settings, an error may name its database."""

from __future__ import annotations

import json
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_SHORTEST = 4
"""A shorter secret would be found in words everywhere."""


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, however they are written in it: as they are, in JSON or in a URL."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}:
                text = text.replace(form, HIDDEN)
    return text
