#!/usr/bin/env python3
"""What Prometheus makes of tokenferry: tests/monitoring/run.py TOKENFERRY.

The alerts are read and their own tests run; /metrics of a demo that has forwarded requests is held
against promtool's rules of style; and a Prometheus scrapes it with the alerts loaded until each has
been evaluated, and answers every question of the dashboard and of the manual. Exit 0 when all of that
holds, 1 when not. Needs Python 3.9, and prometheus and promtool of the distribution.
"""

import json
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

PATIENCE = 60
ROOT = Path(__file__).resolve().parents[2]
MANUAL = ROOT / "docs/operations.md"
MONITORING = ROOT / "deploy/monitoring"
ALERTS = MONITORING / "rules.yaml"
DASHBOARD = MONITORING / "dashboard.json"
# What the demo has nothing to say of: its secret has no declared end, and there is no fallback.
ABSENT = ("tokenferry_credential_expiry_timestamp_seconds", "tokenferry_credential_fallback_active")


def promtool(*arguments, text=None):
    print("promtool", *arguments, flush=True)
    subprocess.run(["promtool", *map(str, arguments)], input=text, text=True, check=True)


def get(url):
    with urllib.request.urlopen(url, timeout=10) as answer:
        return answer.read().decode()


def wait(condition, what):
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        try:
            found = condition()
        except OSError:
            found = None
        if found:
            return found
        time.sleep(0.1)
    raise SystemExit(f"{what}: not within {PATIENCE} s")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def admin_of(demo):
    """The admin address, which the demo prints once it has sent its requests."""
    for line in demo.stdout:
        found = re.search(r"status page at http://(\S+?)/ ", line)
        if found:
            return found[1]
    raise SystemExit("the demo ended before it was up")


def prometheus(folder, target):
    """A Prometheus that answers. It cannot be told to take any port, and what is free may be taken
    before it comes to that: then it ends, and another port is tried."""
    for _ in range(5):
        process, api = start_prometheus(folder, target)

        def answers():
            return process.poll() is not None or get(api + "status/buildinfo")

        try:
            wait(answers, "Prometheus answers or ends")
        except SystemExit:
            process.kill()
            raise
        if process.poll() is None:
            return process, api
    raise SystemExit("Prometheus does not start")


def start_prometheus(folder, target):
    config = folder / "prometheus.yaml"
    config.write_text(json.dumps({
        "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
        "rule_files": [str(ALERTS)],
        "scrape_configs": [{"job_name": "tokenferry", "static_configs": [{"targets": [target]}]}],
    }))
    port = free_port()
    process = subprocess.Popen(
        ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
         f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"])
    return process, f"http://127.0.0.1:{port}/api/v1/"


def data(api, question):
    return json.loads(get(api + question))["data"]


def sum_of(api, expression):
    found = data(api, "query?query=" + urllib.parse.quote(expression))["result"]
    return sum(float(series["value"][1]) for series in found)


def scraped(api):
    """The target, once it has been asked."""
    targets = data(api, "targets")["activeTargets"]
    return targets and targets[0]["health"] != "unknown" and targets[0]


def evaluated(api):
    """All alerts, once each has been evaluated."""
    alerts = [rule for group in data(api, "rules")["groups"] for rule in group["rules"]]
    return alerts if alerts and all(alert["health"] != "unknown" for alert in alerts) else None


def questions():
    """What the dashboard asks, as Grafana would, with an interval of four scrapes."""
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        for target in panel.get("targets", []):
            asked = target["expr"].replace("$__rate_interval", "4s")
            yield panel["title"], asked.replace("$job", "tokenferry").replace("$instance", ".*")


def questions_of_the_manual():
    """Its PromQL, each with the comment above it, over as much as there is here."""
    for block in re.findall(r"```promql\n(.*?)```", MANUAL.read_text(), re.DOTALL):
        for question in block.split("\n\n"):
            title, expression = question.split("\n", 1)
            yield title, expression.replace("[5m]", "[4s]")


def unanswered(api, asked):
    """The questions without an answer."""
    empty = []
    for title, expression in asked:
        absent = any(metric in expression for metric in ABSENT)
        found = data(api, "query?query=" + urllib.parse.quote(expression))["result"]
        if bool(found) == absent:
            empty.append(title)
    return empty


def look(admin, folder):
    promtool("check", "metrics", text=get(f"http://{admin}/metrics"))
    process, api = prometheus(folder, admin)
    faults = []
    try:
        target = wait(lambda: scraped(api), "a scrape")
        if target["health"] != "up":
            faults.append(f"the scrape failed: {target['lastError']}")
        wait(lambda: sum_of(api, "tokenferry_requests_total") > 0, "requests in a query")
        alerts = wait(lambda: evaluated(api), "an evaluation of the alerts")
        for alert in alerts:
            if alert["health"] != "ok":
                faults.append(f"{alert['name']}: {alert['lastError']}")
            if alert["state"] == "firing":
                faults.append(f"{alert['name']} fires although nothing is wrong")
        asked = list(questions())
        if len(asked) < 10:
            faults.append(f"the dashboard asks only {len(asked)} questions")
        by_hand = list(questions_of_the_manual())
        if not by_hand:
            faults.append("the manual asks no questions")
        asked += by_hand
        # A rate needs two scrapes; what is still empty then is named.
        try:
            wait(lambda: not unanswered(api, asked), "answers for the dashboard and the manual")
        except SystemExit as late:
            faults.append(f"{late}: {unanswered(api, asked)}")
        print(f"{len(alerts)} alerts evaluated over a scrape of {admin}, {len(asked)} questions of dashboard and manual")
    finally:
        process.terminate()
        process.wait()
    return faults


def main():
    program = Path(sys.argv[1]).resolve()
    promtool("check", "rules", ALERTS)
    promtool("test", "rules", MONITORING / "rules.test.yaml")
    demo = subprocess.Popen([program, "demo"], stdout=subprocess.PIPE, text=True)
    try:
        with tempfile.TemporaryDirectory() as folder:
            faults = look(admin_of(demo), Path(folder))
    finally:
        demo.terminate()
        demo.wait()
    for fault in faults:
        print("NOT OK", fault)
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
