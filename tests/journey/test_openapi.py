"""The gateway keeps to what /openapi.json says of it, whatever is asked: some hundred cases made from the document.

Nothing of it leaves this machine: jobs may call nobody but a named API that is never called here.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.daemonkit import ROOT
from tests.gatewaykit import Served

pytestmark = pytest.mark.journey

# More than these are run by bench.acceptance.
EXAMPLES = 4


def run(served: Served, folder: Path, examples: int) -> subprocess.CompletedProcess[str]:
    """Let schemathesis ask `examples` times for each operation, all of it reproducible."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"http://{served.address()}/openapi.json"]
    command += [
        "--checks",
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
    ]
    command += [
        "--max-examples",
        str(examples),
        "--seed",
        "1",
        "--generation-database",
        "none",
        "--phases",
        "examples,coverage,fuzzing",
    ]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


def test_what_the_gateway_does_is_what_it_says(tmp_path: Path) -> None:
    with Served(tmp_path, "private = false", more="allow = []") as served:
        served.ask("PUT", "/queues/orders")
        done = run(served, tmp_path, EXAMPLES)
        assert served.ask("GET", "/readyz").status == 200
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert (ROOT / "daemon" / "openapi.py").exists()
