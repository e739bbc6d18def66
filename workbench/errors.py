"""The tree of errors raised on purpose.

    WorkbenchError
    ├── InvalidInput            what the caller passed cannot be used
    │   ├── UnknownTimeframe
    │   ├── InvalidSymbol
    │   ├── InvalidInterval
    │   ├── InvalidBars         bars that break a rule of the data model; names the row
    │   ├── InvalidIndicator
    │   └── InvalidSettings
    ├── StoreError              the parquet store or the database
    │   ├── NothingStored       no bars of a series, or none where they were asked for
    │   ├── CorruptPart         a part that cannot be read; says how to repair it
    │   ├── BasisMismatch       stored bars and IB's differ as after a split
    │   ├── AlreadyRecorded     another recorder takes the live bars of a symbol
    │   └── SourceMismatch      bars of one source offered to a store of another
    ├── IBError                 what IB, or the way to it, reported; carries IB's code
    │   ├── ConnectionFailed    nobody answers at host and port
    │   ├── Disconnected        the connection ended, or IB was away, for longer than we are patient
    │   ├── RequestTimeout      no answer, over a connection that is well
    │   ├── UnreadableAnswer    an answer that breaks a rule of the protocol or of bars
    │   ├── PacingViolation
    │   ├── Unavailable         IB cannot serve the request now, or said so when it is not to be believed
    │   ├── NoData              permanent: IB's word that it has nothing of what was asked for
    │   ├── UnknownContract     permanent
    │   ├── NoPermission        permanent
    │   └── RequestRefused      permanent: everything else; the text says why
    ├── GatewayError            the built-in gateway could not do what it was asked
    └── NotebookError
        ├── UnknownNotebook
        ├── InvalidParameters   refused before a kernel was started
        ├── RunFailed           a cell failed; the executed notebook is kept
        └── AlreadyRuns         a job was to be run that runs already

Each class stands for one thing a caller can do about it. A message names the cause and the next step.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar


class WorkbenchError(Exception):
    """Base of every error that `workbench` raises on purpose."""


class InvalidInput(WorkbenchError, ValueError):
    """An argument that cannot be used."""


class UnknownTimeframe(InvalidInput):
    """A timeframe that is not one of the seven."""


class InvalidSymbol(InvalidInput):
    """A symbol that IB would not have, or that is no safe name of a folder."""


class InvalidInterval(InvalidInput):
    """An interval whose end does not lie after its begin, or without a time zone."""


class InvalidBars(InvalidInput):
    """Bars that break a rule of the data model."""


class InvalidIndicator(InvalidInput):
    """An indicator whose function, parameters or inputs do not exist."""


class InvalidSettings(InvalidInput):
    """A setting that is malformed or contradicts another."""


class StoreError(WorkbenchError):
    """The store could not read or write."""


class NothingStored(StoreError):
    """Nothing is stored of a series, or nothing of the interval that was asked for."""

    def __init__(self, symbol: str, timeframe: str, known: str = "") -> None:
        self.symbol, self.timeframe = symbol, timeframe
        super().__init__(
            f"nothing is stored of {symbol} {timeframe}{f' ({known})' if known else ''}. To fetch it: "
            f'desk.backfill("{symbol}", "{timeframe}"), or workbench backfill {symbol} -t {timeframe}'
        )


class CorruptPart(StoreError):
    """A parquet part that cannot be read.

    `path` is the part. Its content is neither empty nor lost: nothing overwrites it. Reading it changes nothing; a
    repair keeps it aside and fetches its period again.
    """

    def __init__(self, path: Path, reason: str) -> None:
        self.path = path
        timeframe = path.parent.stem.partition("-")[0]
        super().__init__(
            f"{path} cannot be read ({reason}). Nothing was changed. To repair, fetch its period again: "
            f"workbench check '{path.parent.parent.name}' -t {timeframe} --fix keeps the file aside and does so"
        )


class BasisMismatch(StoreError):
    """Stored bars and IB's differ as a whole, as after a split: they must not stand in one series."""


class AlreadyRecorded(StoreError):
    """Another recorder takes the live bars of `symbols`: `holder`, who holds them `until` then unless it renews."""

    def __init__(self, symbols: list[str], holder: str, until: datetime) -> None:
        self.symbols, self.holder, self.until = symbols, holder, until
        super().__init__(
            f"{', '.join(symbols)} are recorded already, by {holder}. End it, or follow what it records: all can. "
            f"Should it be dead, its symbols are free from {until:%H:%M:%S} UTC on"
        )


class SourceMismatch(StoreError):
    """Bars of one source were offered to a store that holds another's."""


class IBError(WorkbenchError):
    """IB, or the way to it, reported a failure.

    `code` is IB's own, or None when the failure was found on our side of the socket. Where `permanent` the same
    request would fail again; any other may be repeated later. Neither says anything about what IB has.
    """

    permanent: ClassVar[bool] = False

    def __init__(self, message: str, *, code: int | None = None) -> None:
        self.code = code
        super().__init__(message if code is None else f"{message} (IB code {code})")


class ConnectionFailed(IBError):
    """No session could be opened with TWS, IB Gateway or the built-in gateway."""


class Disconnected(IBError):
    """The connection is not there, or IB was out of reach for longer than we are patient."""


class RequestTimeout(IBError):
    """No answer came in time."""


class UnreadableAnswer(IBError):
    """An answer that breaks a rule of the protocol or of bars: nothing of it is used."""


class PacingViolation(IBError):
    """IB's limits on requests were exceeded; the same request may be repeated later."""


class Unavailable(IBError):
    """IB cannot serve the request now, or says so while its word is not final: the same request may do later."""


class NoData(IBError):
    """IB's word that it has nothing of what was asked for; where bars are fetched, they are an empty frame."""

    permanent = True


class UnknownContract(IBError):
    """IB knows no such contract, or more than one."""

    permanent = True


class NoPermission(IBError):
    """The account lacks the market data subscription."""

    permanent = True


class RequestRefused(IBError):
    """IB refused the request for a reason its text gives."""

    permanent = True


class GatewayError(WorkbenchError):
    """The built-in gateway could not start, or was given a tape it cannot play."""


class NotebookError(WorkbenchError):
    """A notebook could not be run."""


class UnknownNotebook(NotebookError, InvalidInput):
    """No notebook of that name."""


class InvalidParameters(NotebookError, InvalidInput):
    """Parameters that the notebook does not have, or of another type."""


class AlreadyRuns(NotebookError):
    """A job was to be run that runs already, on this machine or on another that shares the database."""


class RunFailed(NotebookError):
    """A cell failed or the kernel died. `output` is the executed notebook as far as it came.

    `place` is the cell, as the notebook shows it; `error` what happened there; `figures` what was recorded before.
    """

    def __init__(
        self,
        message: str,
        *,
        output: Path,
        place: str = "",
        error: str = "",
        figures: Mapping[str, Any] | None = None,
    ) -> None:
        self.output, self.place, self.error, self.figures = output, place, error, dict(figures or {})
        super().__init__(message)
