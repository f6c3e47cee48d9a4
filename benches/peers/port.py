"""Ports of this machine."""

import socket


# What was given out: nothing may listen there yet, and the system would give it again.
GIVEN = set()


def free_port():
    """A port that nothing listened on a moment ago, and that was not given to another."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in GIVEN:
            GIVEN.add(port)
            return port


def listens(port, address="127.0.0.1"):
    with socket.socket() as probe:
        return probe.connect_ex((address, port)) == 0
