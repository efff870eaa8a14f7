"""The gateway keeps to what /openapi.json says of it, whatever is asked: some hundred cases made from the document.

Nothing of it leaves this machine: jobs may call nobody. `python -m bench.acceptance openapi` runs thousands.
"""

from pathlib import Path

import pytest

from bench.doors import schemathesis
from tests.gatewaykit import Served

pytestmark = pytest.mark.journey


# It takes 20 s of a core that has nothing else to do.
@pytest.mark.timeout(400)
def test_what_the_gateway_does_is_what_it_says(tmp_path: Path) -> None:
    with Served(tmp_path, "private = false", more="allow = []") as served:
        served.ask("PUT", "/queues/orders")
        said, told = schemathesis(served.address(), tmp_path, 1, "coverage")
        assert served.ask("GET", "/readyz").status == 200
    assert said, told
