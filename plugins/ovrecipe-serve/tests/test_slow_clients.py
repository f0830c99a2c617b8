"""Clients that open a connection and say little, against the sockets without a model."""

from __future__ import annotations

import asyncio
import socket
import threading
from types import SimpleNamespace

import httpx
import pytest
from ovrecipe_serve.app import Server
from ovrecipe_serve.guard import Limits, read_body
from ovrecipe_serve.protocol import http_server
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

HANGS_SECONDS = 60


@pytest.fixture
def address():
    """A server that waits 0.3 s for a header and for a body, and says what it read."""
    limits = Limits(body_seconds=0.3)
    server = Server(None, None, limits)
    server.metrics = SimpleNamespace(requests=SimpleNamespace(labels=lambda *_: _Counter()))

    async def size(request):
        return JSONResponse(len(await read_body(request, limits)))

    app = Starlette(routes=[Route("/", server.counted("/", size), methods=["POST"])])
    app.state.server = server
    listening = socket.create_server(("127.0.0.1", 0))
    host, port = listening.getsockname()
    started = threading.Event()
    http = http_server(
        app, host=host, port=port, drain_seconds=1, on_started=started.set, header_seconds=0.3
    )
    thread = threading.Thread(target=asyncio.run, args=(http.serve([listening]),))
    thread.start()
    started.wait(HANGS_SECONDS)
    yield host, port
    http.should_exit = True
    thread.join()


class _Counter:
    def inc(self):
        """Count nothing."""


def said(connection):
    """Return all that comes until the other side closes."""
    connection.settimeout(HANGS_SECONDS)
    return b"".join(iter(lambda: connection.recv(4096), b"")).decode()


@pytest.mark.parametrize("begun", [b"", b"POST / HTTP/1.1\r\nHost: localhost\r\nX-A: "])
def test_a_header_that_does_not_come_closes_the_connection(address, begun):
    """Nothing at all, or half of it."""
    with socket.create_connection(address) as connection:
        connection.sendall(begun)
        assert said(connection) == ""


def test_a_second_header_that_does_not_come_closes_the_connection_too(address):
    """A connection that was answered once has no more rights than a new one."""
    head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(address) as connection:
        connection.sendall(f"{head}Content-Length: 2\r\n\r\n[]".encode())
        assert connection.recv(4096).startswith(b"HTTP/1.1 200")
        connection.sendall(head.encode())
        assert "HTTP" not in said(connection)


def test_a_body_that_does_not_come_is_told_and_closed(address):
    """Half of one is none."""
    head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with socket.create_connection(address) as connection:
        connection.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        answer = said(connection)
    assert answer.startswith("HTTP/1.1 408")
    assert "the body did not come within 0.3 s" in answer


def test_others_are_answered_meanwhile(address):
    """However many wait."""
    silent = [socket.create_connection(address) for _ in range(100)]
    host, port = address
    headers = {"content-type": "application/json"}
    assert httpx.post(f"http://{host}:{port}/", content=b"[]", headers=headers).json() == 2
    for connection in silent:
        connection.close()
