"""The load: wrk for HTTP/1.1 callers and h2load for HTTP/2 ones, pinned, and what they report."""

import re
import shutil
import subprocess
from dataclasses import dataclass

# Written by wrk at the end, one line: its own text output rounds and changes units.
SCRIPT = """
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format("RESULT %d %d %d %d %.1f %.1f\\n", summary.requests, summary.bytes,
    summary.duration, errors.connect + errors.read + errors.write + errors.timeout + errors.status,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass
class Load:
    """What a load generator saw."""

    requests: int
    bytes: int
    seconds: float
    errors: int
    p50: float
    """Microseconds."""
    p99: float
    """Microseconds."""


@dataclass
class Callers:
    """How to call."""

    connections: int
    upload: int = 0
    h2: bool = False
    """HTTP/2 with prior knowledge, eight streams a connection."""


def start(callers, url, seconds, cores, folder, headers):
    """Starts the load in the background."""
    pinned = ["taskset", "-c", ",".join(map(str, cores))]
    if callers.h2:
        command = ["h2load", "-D", str(seconds), "-c", str(callers.connections), "-m", "8", "-t", "1"]
        command += [part for header in headers for part in ("-H", header)]
    else:
        script = folder / f"wrk-{callers.upload}.lua"
        body = f'wrk.method = "PUT"\nwrk.body = string.rep("x", {callers.upload})\n' if callers.upload else ""
        script.write_text(body + SCRIPT)
        command = ["wrk", "-t", str(min(len(cores), callers.connections)), "-c", str(callers.connections),
                   "-d", f"{seconds}s", "--latency", "--timeout", "20s", "-s", str(script)]
        command += [part for header in headers for part in ("-H", header)]
    return subprocess.Popen([*pinned, *command, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                            text=True, cwd=folder)


def result(process, callers, seconds):
    """Waits for the load to end and reads what it reports."""
    try:
        output, _ = process.communicate(timeout=seconds + 40)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return Load(0, 0, seconds, 1, 0.0, 0.0)
    return from_h2load(output, seconds) if callers.h2 else from_wrk(output)


def from_wrk(output):
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) ([\d.]+) ([\d.]+)$", output, re.M)
    if not found:
        raise RuntimeError(f"wrk reported nothing:\n{output}")
    requests, size, duration, errors = (int(part) for part in found.groups()[:4])
    p50, p99 = (float(part) for part in found.groups()[4:])
    return Load(requests, size, duration / 1e6, errors, p50, p99)


def from_h2load(output, seconds):
    done = re.search(r"(\d+) succeeded, (\d+) failed, (\d+) errored, (\d+) timeout", output)
    status = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output)
    total = re.search(r"traffic: .*?\((\d+)\) total", output)
    mean = re.search(r"time for request:\s+\S+\s+\S+\s+([\d.]+)(us|ms|s)", output)
    if not (done and status and total):
        raise RuntimeError(f"h2load reported nothing:\n{output}")
    unit = {"us": 1, "ms": 1e3, "s": 1e6}
    # h2load gives no percentiles: the mean stands for the median, and nothing for the other.
    middle = float(mean[1]) * unit[mean[2]] if mean else 0.0
    errors = sum(int(number) for number in (*done.groups()[1:], *status.groups()[1:]))
    return Load(int(done[1]), int(total[1]), seconds, errors, middle, float("nan"))


def missing():
    """Load generators that are not installed, with the package that carries each."""
    packages = {"wrk": "wrk", "h2load": "nghttp2-client", "taskset": "util-linux", "openssl": "openssl"}
    return {name: package for name, package in packages.items() if not shutil.which(name)}
