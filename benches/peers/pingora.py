"""Pingora, a library: the program of `pingora-peer` beside this does the job with it."""

import shutil
import subprocess
from pathlib import Path

from peers import KEPT, Peer
from upstream import GRAPH

SOURCE = Path(__file__).resolve().parent / "pingora-peer"


class Pingora(Peer):
    name, program, package = "Pingora", "pingora-peer", "--build-pingora"

    def version(self):
        lines = iter((SOURCE / "Cargo.lock").read_text().splitlines())
        return "Pingora " + next(next(lines).split('"')[1] for line in lines if line == 'name = "pingora"')

    def command(self, job):
        routes = [path.removeprefix("/") for path in [*job.decoys, "/graph"]]
        settings = {
            "LISTEN": f"127.0.0.1:{job.port}",
            "THREADS": str(job.workers),
            "KEPT": str(KEPT),
            "UPSTREAM": f"{job.address}:{job.upstream.port}",
            "UPSTREAM_NAME": GRAPH,
            "CA_FILE": f"{job.folder}/ca.pem",
            "TOKEN_FILE": f"{job.folder}/token",
            "ROUTES": ",".join(routes),
        }
        log = job.log("pingora")
        return [], {**settings, **({"LOG": log} if log else {})}


def find(build, cache):
    """The program: one in PATH, or the one built in `cache`."""
    if shutil.which(Pingora.program):
        return shutil.which(Pingora.program)
    target = Path(cache) / "pingora"
    if build:
        cargo = ["cargo", "build", "--locked", "--release", "--target-dir", str(target)]
        subprocess.run(cargo, cwd=SOURCE, check=True)
    program = target / "release" / Pingora.program
    return str(program) if program.exists() else None
