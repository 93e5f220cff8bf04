"""A socket to listen at, or an error that says what to do."""

from __future__ import annotations

import socket

from maskwright.errors import UsageError, problem

_LAST_PORT = 65535


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens: who connects from now on waits until it is served.

    Raises:
        UsageError: there is no such port or address, or it is taken.
    """
    if not 0 <= port <= _LAST_PORT:
        next_move = "give a --port in this range (0 takes a free one)"
        raise UsageError(problem(f"a port from 0 to {_LAST_PORT}", f"{port}", where="--port", next_move=next_move))
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    except OSError as error:
        next_move = "leave --host out, or give an address of this machine: 127.0.0.1, or 0.0.0.0 for all that it has"
        got = f"{host}: {error.strerror or error}"
        raise UsageError(problem("an address of this machine", got, where="--host", next_move=next_move)) from None
    place = socket.socket(family, kind, protocol)
    try:
        place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        place.bind(address)
        place.listen()
    except OSError as error:
        place.close()
        raise _taken(host, port, error) from None
    return place


def _taken(host: str, port: int, error: OSError) -> UsageError:
    return UsageError(
        problem(
            "an address that is free",
            error.strerror or str(error),
            where=f"{host}:{port}",
            next_move="give another --port (0 takes a free one) or --host",
        )
    )
