"""Readers that ask for a large body and stop reading: what a proxy holds for them in memory."""

import socket
import time

READERS = 1000
# Small, so that what is in the kernel's buffers does not hide what is in the proxy.
RECEIVE_BUFFER = 16 << 10


def stalled(port, path):
    """A connection on which a body has begun and is read no further."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
    reader.settimeout(30)
    reader.connect(("127.0.0.1", port))
    reader.sendall(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
    return reader


def resident(process, port, path):
    """MiB before the readers came, and with all of them waiting."""
    before, readers = process.resident(), []
    try:
        for _ in range(READERS):
            readers.append(stalled(port, path))
        for reader in readers:
            reader.recv(4096)
        # Until it grows no more, and at most as long as filling 64 GiB may take to be noticed.
        most, end = process.resident(), time.monotonic() + 10
        while time.monotonic() < end:
            time.sleep(1)
            now = process.resident()
            # Nobody runs a machine out of memory for a figure.
            if now < most * 1.02 or now > 4096:
                return before, now
            most = now
        return before, most
    finally:
        for reader in readers:
            reader.close()


def table(figures):
    lines = [f"**{READERS} readers that stopped in a 64 MiB body**", "",
             "| | resident MiB before | with readers |", "| --- | ---: | ---: |"]
    lines += [f"| {name} | {before:.0f} | {after:.0f} |" for name, (before, after) in figures.items()]
    return "\n".join(lines) + "\n"
