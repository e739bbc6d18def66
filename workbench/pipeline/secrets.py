"""Secrets are taken out of whatever a run leaves: a cell may print its settings, an error may name its database."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from urllib.parse import quote, quote_plus

HIDDEN = "***"
_SHORTEST = 4
"""A shorter secret would be found in words everywhere."""
_TOKEN = 10
"""A part of a URL of this length, with a digit in it, is taken for a token."""


def secrets_of_hook(url: str) -> list[str]:
    """Return what nobody may see of the URL by which somebody is told: all of it, its password, its tokens.

    >>> secrets_of_hook("json://me:hush@localhost/hooks/a1b2c3d4e5")
    ['json://me:hush@localhost/hooks/a1b2c3d4e5', 'me:hush@localhost/hooks/a1b2c3d4e5', 'hush', 'a1b2c3d4e5']
    """
    _, _, rest = url.partition("://")
    password = re.findall(r"^[^/@]*?:([^/@]+)@", rest)
    tokens = [part for part in re.split(r"[/?&=@:#]", rest) if len(part) >= _TOKEN and re.search(r"\d", part)]
    return [url, rest, *password, *tokens]


def redact(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets, however they are written in it: as they are, in JSON or in a URL."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST:
            for form in {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), json.dumps(secret)[1:-1]}:
                text = text.replace(form, HIDDEN)
    return text
