"""The rows of the table: what is asked for, by how many callers, and how one measurement is taken."""

import statistics
import time
from dataclasses import dataclass, replace

import load
from load import Callers
from upstream import BIG, GRAPH


@dataclass(frozen=True)
class Row:
    """One kind of work."""

    name: str
    title: str
    path: str
    connections: int
    # Seconds before the window in which requests and CPU are counted, so that handshakes and
    # connections being opened stay outside; None counts the whole run, by bytes.
    warm: float = 0.5
    upload: int = 0
    h2: bool = False
    routes: int = 1
    access_log: bool = False
    # Whether tokenferry runs a second time with `rewrite_links: false`.
    links: bool = False
    # Whether nginx runs a second time with the 64 kept connections that its examples show: fewer
    # than there are callers.
    few_kept: bool = False
    # Whether nginx runs a second time with buffers larger than its own, of a memory page each.
    large_buffers: bool = False
    optional: bool = False

    @property
    def callers(self):
        return Callers(self.connections, self.upload, self.h2)


ROWS = [
    Row("small", "1 KB JSON, 64 connections", "one", 64),
    Row("single", "1 KB JSON, 1 connection", "one", 1),
    Row("page", "150 KB JSON page, 32 connections", "page", 32, links=True, large_buffers=True),
    Row("big", "64 MiB download, 4 connections", "big", 4, warm=None, large_buffers=True),
    Row("many", "1 KB JSON, 1000 connections", "one", 1000, warm=1.5, few_kept=True),
    Row("h2", "1 KB JSON, HTTP/2 callers, 8 connections of 8 streams", "one", 8, h2=True, optional=True),
    Row("upload", "1 MiB upload, 16 connections", "sink", 16, upload=1 << 20, optional=True),
    Row("routes", "1 KB JSON, 64 connections, 200 routes", "one", 64, routes=200, optional=True),
    Row("log", "1 KB JSON, 64 connections, access log on", "one", 64, access_log=True, optional=True),
]


@dataclass
class Sample:
    """One measurement of one peer."""

    user: float
    """Microseconds of CPU a request."""
    system: float
    """Microseconds of CPU a request."""
    rate: float
    """Requests a second."""
    size: float
    """Bytes a second, towards the callers or of uploads."""
    p50: float
    p99: float
    resident: float
    """MiB."""
    errors: int

    @property
    def cpu(self):
        return self.user + self.system


def median(samples):
    """The median of each figure; errors are added up. User and system time are those of the sample
    with the median CPU: the kernel splits it by sampling, and the sum of two medians is no median.
    """
    middle = sorted(samples, key=lambda sample: sample.cpu)[len(samples) // 2]
    fields = {name: statistics.median(getattr(s, name) for s in samples)
              for name in vars(middle) if name not in ("user", "system", "errors")}
    return replace(middle, **fields, errors=sum(s.errors for s in samples))


def address(name, peer, job):
    """Where callers ask for what has this name, and what they say beside."""
    path = f"/v1.0/{name}" if peer.relays else f"/graph/v1.0/{name}"
    headers = ["Accept: application/json", "User-Agent: bench/1.0"]
    if peer.relays:
        headers += [f"Host: {GRAPH}", f"Authorization: Bearer {job.upstream.token}"]
    return f"http://127.0.0.1:{job.port}{path}", headers


class Account:
    """What the upstream has read and the proxy has spent at one moment."""

    def __init__(self, job, process):
        self.requests, self.cpu = job.upstream.requests(), process.cpu()
        self.at = time.monotonic()


def measure(row, peer, process, job, seconds, cores):
    """Loads one peer and counts what it spends."""
    url, headers = address(row.path, peer, job)
    # The load outlasts the window, so that its end is not measured either.
    runs = seconds if row.warm is None else int(seconds + row.warm + 1)
    before = Account(job, process)
    running = load.start(row.callers, url, runs, cores, job.folder, headers)
    time.sleep(row.warm or 0)
    if row.warm is not None:
        before = Account(job, process)
    time.sleep(seconds if row.warm is not None else seconds * 0.9)
    after, resident = Account(job, process), process.resident()
    seen = load.result(running, row.callers, runs)
    if row.warm is None:
        after = Account(job, process)
        requests, took = seen.bytes / BIG, seen.seconds
    else:
        # The later look at the counter is a request too.
        requests, took = after.requests - before.requests - 1, after.at - before.at
    requests, used = max(requests, 1), after.cpu - before.cpu
    return Sample(
        user=used.user / requests * 1e6,
        system=used.system / requests * 1e6,
        rate=requests / took,
        size=requests / took * row.upload or seen.bytes / seen.seconds,
        p50=seen.p50, p99=seen.p99, resident=resident, errors=seen.errors,
    )
