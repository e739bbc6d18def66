"""Opening and closing a connection: the one place that knows how ib_insync fails to."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from workbench.errors import ConnectionFailed, IBError
from workbench.ib.resets import Region
from workbench.ib.translate import to_error

if TYPE_CHECKING:
    import ib_insync

logger = logging.getLogger(__name__)

_CLIENT_ID_IN_USE = 326
_CLIENT_IDS = 8
_AFTER_TIMEOUT_S = 15.0
_TAKEN = "%s: client id %d is already in use, by another program or by one that was killed a moment ago; took %d"
_PORTS = {7497: "TWS paper", 7496: "TWS live", 4002: "IB Gateway paper", 4001: "IB Gateway live"}


@dataclass(frozen=True, slots=True)
class IBConnectionConfig:
    """Where IB listens: TWS paper 7497, TWS live 7496, IB Gateway paper 4002, live 4001.

    When another program holds `client_id`, one of the next seven is taken.
    `timeout` is in seconds and bounds the connecting; `request_timeout_s` bounds each historical request.
    `paced` keeps IB's limits on requests; a gateway that enforces none needs it not. `market_data_lines` are the
    account's: half as many messages a second are allowed. `gateway_speed` is how many seconds of its own time a
    built-in gateway lets pass in one: limits run in that.

    `patience_s` is how long requests wait, from its begin on, for the end of an outage: of the connection, of IB or of
    its farms. After `watchdog_s` without a message the gateway is asked for a sign of life, and hung up on when it
    gives none within `timeout` or ten seconds. `reset_region` tells when IB resets its servers; None is never.
    """

    host: str = "127.0.0.1"
    port: int = 7497
    client_id: int = 1
    timeout: float = 20.0
    readonly: bool = True
    request_timeout_s: float = 60.0
    paced: bool = True
    market_data_lines: int = 100
    gateway_speed: float = 1.0
    patience_s: float = 600.0
    watchdog_s: float = 30.0
    reset_region: Region | None = "america"

    @property
    def hold_s(self) -> float:
        """How long, on the limits' clock, a request that is never heard of again keeps its place."""
        return (self.request_timeout_s + _AFTER_TIMEOUT_S) * self.gateway_speed

    def __str__(self) -> str:
        named = f" ({_PORTS[self.port]})" if self.port in _PORTS else ""
        return f"{self.host}:{self.port}{named}"


Told = tuple[int, int, str]
"""What a gateway tells: the id of a request or -1, IB's code, its text."""


async def dial_any(config: IBConnectionConfig, told: list[Told] | None = None) -> ib_insync.IB:
    """Open a connection under the configured client id, or under one of the next when other programs hold it.

    `told` receives what the gateway told meanwhile: right after the handshake it says which servers of IB are away.
    """
    for client_id in range(config.client_id, config.client_id + _CLIENT_IDS):
        try:
            ib = await dial(replace(config, client_id=client_id), told)
        except ConnectionFailed as error:
            if error.code != _CLIENT_ID_IN_USE:
                raise
            continue
        if client_id != config.client_id:
            logger.warning(_TAKEN, config, config.client_id, client_id)
        return ib
    raise ConnectionFailed(
        f"{config}: the client ids {config.client_id} to {client_id} are all in use. End a program that holds one, or "
        "choose another with client_id under [ib] in workbench.toml, or WORKBENCH_IB__CLIENT_ID"
    )


async def dial(config: IBConnectionConfig, told: list[Told] | None = None) -> ib_insync.IB:
    """Open a connection on the running loop, or raise `ConnectionFailed`."""
    from ib_insync import IB

    ib, heard = IB(), [] if told is None else told
    heard.clear()
    ib.RaiseRequestErrors = True
    refused: asyncio.Future[IBError] = asyncio.get_running_loop().create_future()

    def on_error(request_id: int, code: int, text: str, _contract: object) -> None:
        heard.append((request_id, code, text))
        # ib_insync only logs this one, and waits its whole time-out.
        if code == _CLIENT_ID_IN_USE and not refused.done():
            refused.set_result(to_error(code, text, request=f"client id {config.client_id}"))

    ib.errorEvent += on_error
    connecting = asyncio.ensure_future(
        ib.connectAsync(config.host, config.port, config.client_id, config.timeout, config.readonly)
    )
    try:
        await asyncio.wait({connecting, refused}, return_when=asyncio.FIRST_COMPLETED)
        if refused.done():
            raise refused.result()
        await connecting
    except (OSError, TimeoutError) as error:
        raise ConnectionFailed(_explain(config, error)) from error
    finally:
        ib.errorEvent -= on_error
        connecting.cancel()
        if not ib.isConnected():
            ib.client.disconnect()  # the socket may stand already; ib.disconnect() wants a finished handshake
    return ib


def _explain(config: IBConnectionConfig, error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return (
            f"{config.host}:{config.port} accepted the connection but did not answer within {config.timeout:.0f} s. "
            "Look at TWS or IB Gateway: a dialog may wait there for your consent, or it is still logging in"
        )
    ports = ", ".join(f"{name} {port}" for port, name in _PORTS.items())
    return (
        f"nobody answers at host {config.host}, port {config.port} ({error}). Check that TWS or IB Gateway runs and is "
        f"logged in, that its API is enabled (Configure, API, Settings: Enable ActiveX and Socket Clients), that this "
        f"machine is a trusted IP, and that the port is the one it shows ({ports}). "
        "Without settings of ib.host and ib.port the built-in gateway is used"
    )


def hang_up(ib: ib_insync.IB) -> None:
    """Close a connection, on its own loop, at once: also one whose other end no longer reads."""
    transport = ib.client.conn.transport
    ib.disconnect()
    if transport is not None:
        transport.abort()
    ib.wrapper.connectionClosed()  # what ib_insync itself leaves pending when it is our side that hangs up


def source_of(account: str) -> str:
    """Return the source that an account stands for: the built-in gateway names its tape in its account."""
    if account.startswith("SIMULATED"):
        return f"built-in gateway ({account})"
    return f"replay ({account})" if account.startswith("REPLAY") else "IB"
