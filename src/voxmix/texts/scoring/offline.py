"""without_network(): libraries that would fetch weights at run time find no network but this machine's own."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from voxmix.texts.this_machine import is_this_machine


class NoNetworkError(OSError):
    """Something asked for the network where nothing may."""


@contextmanager
def without_network() -> Iterator[None]:
    """Refuse connections to other machines while the block runs, in this process; files and sockets of its own stay.

    A setting of a library is no promise: those that score reports fetch what they miss without asking.
    """
    connect, look_up = socket.socket.connect, socket.getaddrinfo

    def own(host: Any) -> bool:
        return isinstance(host, str) and is_this_machine(host)

    def guarded_connect(self: socket.socket, address: Any) -> None:
        if isinstance(address, tuple) and not own(address[0]):
            raise NoNetworkError("no network here")
        connect(self, address)

    def guarded_look_up(host: Any, *rest: Any, **more: Any) -> Any:
        if not own(host):
            raise NoNetworkError("no network here")
        return look_up(host, *rest, **more)

    socket.socket.connect = guarded_connect  # type: ignore[method-assign, assignment]
    socket.getaddrinfo = guarded_look_up
    try:
        yield
    finally:
        socket.socket.connect = connect  # type: ignore[method-assign]
        socket.getaddrinfo = look_up
