"""Which hosts are this machine, so that no text leaves it."""

import ipaddress


def is_this_machine(host: str) -> bool:
    """Return whether a host is this machine by its name or number; nothing is looked up.

    >>> [is_this_machine(host) for host in ("localhost", "127.0.0.1", "::1", "127.example.com", "localhost.example.com")]
    [True, True, True, False, False]
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
