"""One name or several, as a user writes them."""

from __future__ import annotations

from collections.abc import Iterable


def as_names(one_or_more: str | Iterable[str]) -> list[str]:
    """Return names as a list, each once and in their order; a single text is one name, not its letters.

    >>> as_names("AAPL"), as_names(["KO", "PEP", "KO"])
    (['AAPL'], ['KO', 'PEP'])
    """
    return [one_or_more] if isinstance(one_or_more, str) else list(dict.fromkeys(one_or_more))
