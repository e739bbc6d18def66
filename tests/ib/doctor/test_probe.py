"""Who listens at an address is told from the first bytes, however they come in pieces."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.gateway.server import GatewayServer
from workbench.ib.doctor.probe import Found, Probe, probe, read_answer

_PAYLOAD = b"176\x0020261120 10:07:00 Eastern Time US\0"
ANSWER = len(_PAYLOAD).to_bytes(4, "big") + _PAYLOAD


def probed(host: str, port: int, timeout_s: float = 5.0) -> Probe:
    return asyncio.run(probe(host, port, timeout_s))


@contextmanager
def answering(data: bytes, *, closes: bool) -> Iterator[int]:
    """Serve one client: read its greeting, answer, and hang up or wait until it does."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            client, _ = server.accept()
            with closing(client):
                client.recv(64)
                client.sendall(data)
                if not closes:
                    client.recv(64)

        thread = threading.Thread(target=serve)
        thread.start()
        yield server.getsockname()[1]
        thread.join()


@given(st.integers(0, len(ANSWER) - 1))
def test_a_gateways_answer_is_known_when_it_is_whole_and_not_before(length: int) -> None:
    assert read_answer(ANSWER[:length]) is None
    assert read_answer(ANSWER) == Probe(Found.GATEWAY, 176, "20261120 10:07:00 Eastern Time US")


@given(st.binary(min_size=1, max_size=300))
def test_whatever_else_is_said_is_another_program_or_still_coming(data: bytes) -> None:
    told = read_answer(data)

    assert told is None or told.found is Found.OTHER or told.version >= 0
    if told and told.found is Found.OTHER:
        assert told.text.isprintable()


def test_the_zone_of_tws_is_what_follows_its_time() -> None:
    assert Probe(Found.GATEWAY, 176, "20260405 23:49:26 Central European Standard Time").zone == (
        "Central European Standard Time"
    )


def test_a_gateway_tells_its_version(market: GatewayServer) -> None:
    told = probed(market.host, market.port)

    assert (told.found, told.version) == (Found.GATEWAY, 176)
    assert told.zone == "Eastern Standard Time"


def test_a_closed_port_refuses() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))

        assert probed("127.0.0.1", free.getsockname()[1]).found is Found.REFUSED


def test_a_name_that_no_machine_has_is_told() -> None:
    assert probed("no-such-machine.invalid", 7497).found is Found.UNKNOWN_HOST


def test_who_says_nothing_is_silent() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        assert probed("127.0.0.1", mute.getsockname()[1], timeout_s=0.2).found is Found.SILENT


@pytest.mark.parametrize(
    ("data", "found", "text"),
    [
        (b"", Found.HUNG_UP, ""),
        (b"HTTP/1.1 400 Bad Request\r\nServer: x\r\n\r\n", Found.OTHER, "HTTP/1.1 400 Bad Request"),
        (b"SSH-2.0-OpenSSH_9.6\r\n", Found.OTHER, "SSH-2.0-OpenSSH_9.6"),
        (b"\0\0\0\x04ab\0\xff", Found.OTHER, "......ab.ÿ"[2:]),
        (b"\0\0", Found.OTHER, ".."),
    ],
)
def test_another_program_is_quoted(data: bytes, found: Found, text: str) -> None:
    with answering(data, closes=True) as port:
        told = probed("127.0.0.1", port)

    assert (told.found, told.text) == (found, text)


def test_a_web_server_that_waits_for_a_line_is_prompted() -> None:
    """As Python's own does: to the greeting alone it says nothing."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        told = probed("127.0.0.1", server.server_port, timeout_s=0.5)
        thread.join()

    assert told.found is Found.OTHER
    assert told.text
