import socket

import pytest

from maskwright.cli.listening import listen
from maskwright.errors import UsageError


def test_who_connects_before_anything_is_served_waits():
    with listen("127.0.0.1", 0) as place, socket.create_connection(place.getsockname(), timeout=5) as early:
        early.sendall(b"first")
        served, _ = place.accept()
        with served:
            assert served.recv(5) == b"first"


def test_a_second_one_at_the_same_port_is_told():
    with listen("127.0.0.1", 0) as place, pytest.raises(UsageError, match="an address that is free"):
        listen("127.0.0.1", place.getsockname()[1])
