"""Failures are told: in the log, and by whatever Apprise reaches (e-mail, webhooks, chats)."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

from workbench.errors import InvalidSettings

logger = logging.getLogger(__name__)


def make_teller(urls: Sequence[str]) -> Callable[[str, str], None]:
    """Return what tells a failure, by its title and its text, to all of these Apprise URLs.

    Raises `InvalidSettings` for a URL that Apprise does not know: its number, not its text, which may hold a secret.
    """
    if not urls:
        return lambda _title, _text: None
    from apprise import Apprise

    told = Apprise()
    unknown = [number for number, url in enumerate(urls, 1) if not told.add(url)]
    if unknown:
        raise InvalidSettings(
            f"pipeline.notify: number {', '.join(map(str, unknown))} is no URL that Apprise knows; "
            "write mailto://user:password@example.com or json://localhost/hook"
        )

    def tell(title: str, text: str) -> None:
        if not told.notify(title=f"workbench: {title}", body=text or title):
            logger.error("nobody could be told: %s; look at pipeline.notify in workbench.toml", title)

    return tell
