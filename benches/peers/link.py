#!/usr/bin/env python3
"""A wide-area link between two network namespaces: every packet arrives late, some never. Made in
user space with a TUN device at each end, because many kernels come without netem. Until ended.

Usage: link.py NAMESPACE NAMESPACE ONE_WAY_MILLISECONDS LOSS_PERCENT
"""

import collections
import ctypes
import fcntl
import os
import random
import select
import struct
import subprocess
import sys
import time

ADDRESSES = ("10.88.0.1", "10.88.0.2")
# From linux/if_tun.h: set the interface, a TUN device, without the four bytes before each packet.
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 0x0001, 0x1000
CLONE_NEWNET = 0x40000000
# Packets taken from one end before the other end and the clock are looked at again.
BURST = 32


class End:
    """One end of the link: a device in a namespace, and the packets on their way to it."""

    def __init__(self, namespace, own, other):
        handle = os.open(f"/run/netns/{namespace}", os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(handle, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"cannot enter the namespace {namespace}")
        os.close(handle)
        self.device = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.device, TUNSETIFF, struct.pack("16sH22x", b"wan", IFF_TUN | IFF_NO_PI))
        for command in (["addr", "add", own, "peer", other, "dev", "wan"],
                        ["link", "set", "wan", "up", "txqueuelen", "10000"]):
            subprocess.run(["ip", "-n", namespace, *command], check=True)
        # The delay is the same for all, so they arrive in the order in which they left.
        self.underway = collections.deque()

    def read(self):
        """Packets that leave here now."""
        for _ in range(BURST):
            try:
                yield os.read(self.device, 65536)
            except BlockingIOError:
                return

    def deliver(self, now):
        """Hands over what has arrived; a full device loses packets, as routers do."""
        while self.underway and self.underway[0][0] <= now:
            try:
                os.write(self.device, self.underway.popleft()[1])
            except OSError:
                continue


def carry(one, two, delay, loss):
    poll = select.poll()
    for end in (one, two):
        poll.register(end.device, select.POLLIN)
    ends = {one.device: (one, two), two.device: (two, one)}
    while True:
        now = time.monotonic()
        for end in (one, two):
            end.deliver(now)
        arrivals = [end.underway[0][0] for end in (one, two) if end.underway]
        wait = min(arrivals) - now if arrivals else 1.0
        if wait < 0.001:
            # Below what poll can wait for.
            time.sleep(max(wait, 0.0))
            wait = 0.0
        for device, _ in poll.poll(int(wait * 1000)):
            here, there = ends[device]
            for packet in here.read():
                if random.random() >= loss:
                    there.underway.append((time.monotonic() + delay, packet))


def main():
    near, far, delay, loss = sys.argv[1:]
    one, two = End(near, *ADDRESSES), End(far, *reversed(ADDRESSES))
    print("up", flush=True)
    carry(one, two, float(delay) / 1000, float(loss) / 100)


if __name__ == "__main__":
    main()
