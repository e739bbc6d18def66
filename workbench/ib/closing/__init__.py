"""The end of a session: what was built live gives way to IB's history, and the journal to the store.

`save` does it, `report` says what came of it.
"""

from workbench.ib.closing.report import SavedSession, SessionReport
from workbench.ib.closing.save import save_sessions

__all__ = ["SavedSession", "SessionReport", "save_sessions"]
