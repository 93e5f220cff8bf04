"""An application served in a thread of the test's own process."""

from __future__ import annotations

import socket
import threading
import time
from contextlib import closing, contextmanager

import uvicorn


@contextmanager
def serving(application):
    """Serve on a free port; gives the port.

    uvicorn's own logging is left out: setting it up closes the handlers that others have set up before, and one of
    these (absl's, of TensorBoard) then closes the stream that pytest captures all further tests with.
    """
    with closing(socket.create_server(("127.0.0.1", 0))) as place:
        server = uvicorn.Server(uvicorn.Config(application, log_config=None, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [place]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield place.getsockname()[1]
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()
