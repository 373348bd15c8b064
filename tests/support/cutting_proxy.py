"""A connection that breaks at the worst moment: what was asked is done, and the answer never comes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress


@contextmanager
def cutting_proxy(server: str, due: Callable[[], bool]) -> Iterator[str]:
    """The address of a proxy before `server`. Once `due` says so, it hangs up, once, in place of passing on
    what the server sends; later connections are left alone.
    """
    host, _, port = server.rpartition(":")
    cut = threading.Event()
    sockets: list[socket.socket] = []
    threads: list[threading.Thread] = []

    def forward(source: socket.socket, target: socket.socket, *, answers: bool) -> None:
        with suppress(OSError):
            while content := source.recv(65_536):
                if answers and not cut.is_set() and due():
                    cut.set()
                    break
                target.sendall(content)
        for end in (source, target):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def serve() -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((host, int(port)))
                sockets.extend((near, far))
                for pair, answers in (((near, far), False), ((far, near), True)):
                    thread = threading.Thread(target=forward, args=pair, kwargs={"answers": answers})
                    thread.start()
                    threads.append(thread)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=serve)
        accepting.start()
        try:
            yield f"127.0.0.1:{listener.getsockname()[1]}"
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            accepting.join(10)
            for one in sockets:
                with suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
            for one in sockets:
                one.close()
