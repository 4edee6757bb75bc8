"""From a server's console entry to a way of opening it."""

from __future__ import annotations

from functools import partial

from lab.bmc.api import ByteStream, Opener
from lab.console.transports import Rfc2217Stream, SerialStream, TcpStream
from lab.rack.model import Rack, Rfc2217Console, SerialConsole, Server, TcpConsole


def opener(rack: Rack, server: Server) -> Opener:
    """What opens the console of `server` as its rack file describes it; nothing is opened yet."""
    console = server.console
    if isinstance(console, SerialConsole):
        return partial(SerialStream, console.serial, console.baud)
    if isinstance(console, Rfc2217Console):
        return partial(Rfc2217Stream, console.rfc2217, console.baud)
    if isinstance(console, TcpConsole):
        return partial(TcpStream, console.tcp)
    return partial(_sol, rack, server)


def _sol(rack: Rack, server: Server) -> ByteStream:
    from lab.bmc import open_sol  # not above: pyghmi takes long to import, and most consoles do without

    return open_sol(rack, server)
