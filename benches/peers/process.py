"""Processes that this bench starts: pinned, watched through /proc, and ended by their own id.

CPU time comes from the scheduler's nanosecond accounts where the kernel has them; the division into
user and system time from /proc/PID/stat, whose ticks are too coarse for the sum.
"""

import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


@dataclass
class Cpu:
    """CPU seconds of a process and its descendants."""

    total: float
    user: float
    system: float

    def __sub__(self, earlier):
        user, system = self.user - earlier.user, self.system - earlier.system
        total = self.total - earlier.total
        share = user / (user + system) if user + system else 0.0
        return Cpu(total, total * share, total * (1 - share))


def stat_fields(pid):
    """The fields of /proc/PID/stat after the command's name, which may hold spaces."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def scheduled(pid):
    """Seconds that all threads of a process ran, or None where the kernel does not say."""
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9
    except (OSError, IndexError, ValueError):
        return None


class Process:
    """A running program with its descendants."""

    def __init__(self, name, command, cores, folder, environment=None):
        self.name = name
        self.output = Path(folder) / f"{name.replace(' ', '-')}.out"
        with open(self.output, "ab") as output:
            self.child = subprocess.Popen(
                ["taskset", "-c", ",".join(map(str, cores)), *command],
                cwd=folder,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Fixed after the first look with traffic: looking through all of /proc takes long.
        self.family = None

    def descendants(self):
        """This process and those below it, dead ones left out."""
        parents = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                try:
                    parents[int(entry)] = int(stat_fields(entry)[1])
                except (OSError, IndexError):
                    continue
        family, grown = {self.child.pid}, True
        while grown:
            more = {pid for pid, parent in parents.items() if parent in family} - family
            family, grown = family | more, bool(more)
        return sorted(family)

    def settle(self):
        """Takes the processes of now as those to watch."""
        self.family = self.descendants()

    def cpu(self):
        """CPU time until now."""
        total = user = system = 0.0
        for pid in self.family or self.descendants():
            try:
                fields = stat_fields(pid)
            except OSError:
                continue
            ticks = (int(fields[11]) / TICK, int(fields[12]) / TICK)
            user, system = user + ticks[0], system + ticks[1]
            ran = scheduled(pid)
            total += sum(ticks) if ran is None else ran
        return Cpu(total, user, system)

    def resident(self):
        """Resident memory in MiB, summed over the processes."""
        total = 0
        for pid in self.family or self.descendants():
            try:
                lines = Path(f"/proc/{pid}/status").read_text().splitlines()
            except OSError:
                continue
            total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS:"))
        return total / 1024

    def alive(self):
        return self.child.poll() is None

    def said(self):
        """The end of what it wrote, for messages about its death."""
        return self.output.read_text(errors="replace")[-2000:]

    def end(self):
        """Ends it: politely, then with its whole session, which nothing else belongs to."""
        if self.alive():
            self.child.send_signal(signal.SIGTERM)
            try:
                self.child.wait(3)
            except subprocess.TimeoutExpired:
                pass
        try:
            os.killpg(self.child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.child.wait()


def wait_until(ready, process, seconds=10):
    """Waits until `ready()` is true; raises when the process dies or time runs out."""
    end = time.monotonic() + seconds
    while not ready():
        if not process.alive():
            raise RuntimeError(f"{process.name} ended:\n{process.said()}")
        if time.monotonic() > end:
            raise RuntimeError(f"{process.name} is not ready after {seconds} s:\n{process.said()}")
        time.sleep(0.02)
