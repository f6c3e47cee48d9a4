"""The result as Markdown: one table of ratios for the README, and one table of figures per row."""

import datetime
import math
import os
import platform
from pathlib import Path


def machine():
    """What it was measured on, in one line."""
    model = ""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        # Virtual machines often leave the name out and give a bare model number.
        if name.strip() in ("model name", "vendor_id") and not value.strip().isdigit():
            model = value.strip()
            if name.strip() == "model name":
                break
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{model}, {os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()} "
            f"{platform.release()}, {datetime.date.today():%d %B %Y}")


def ratios(results, names, base):
    """Requests per CPU-second relative to `base`, a line per row."""
    lines = ["| work | " + " | ".join(names) + " |", "| --- |" + " ---: |" * len(names)]
    for title, figures in results:
        cells = []
        for name in names:
            if name not in figures or base not in figures:
                cells.append("")
                continue
            cells.append(f"{figures[base].cpu / figures[name].cpu:.2f}")
        lines.append(f"| {title} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def figures(title, samples, base):
    """One row's figures, a line per peer, cheapest first."""
    lines = [
        f"**{title}**", "",
        "| | CPU µs/request (user + system) | relative | requests/s | MB/s | p50 µs | p99 µs | resident MiB | errors |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, sample in sorted(samples.items(), key=lambda item: item[1].cpu):
        relative = f"{samples[base].cpu / sample.cpu:.2f}" if base in samples else ""
        late = "" if math.isnan(sample.p99) else f"{sample.p99:,.0f}"
        lines.append(
            f"| {name} | {sample.cpu:,.1f} ({sample.user:,.1f} + {sample.system:,.1f}) | {relative} "
            f"| {sample.rate:,.0f} | {sample.size / 1e6:,.0f} | {sample.p50:,.0f} | {late} "
            f"| {sample.resident:.0f} | {sample.errors} |"
        )
    return "\n".join(lines) + "\n"


def whole(setup, results, names, base, notes):
    """The whole report."""
    parts = [setup, "", ratios(results, names, base), ""]
    parts += [figures(title, samples, base) for title, samples in results]
    return "\n".join(parts + notes) + "\n"
