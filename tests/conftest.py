"""For all tests: hypothesis takes the time it needs, and in CI it draws the same examples each time."""

import os

from hypothesis import HealthCheck, settings

settings.register_profile(
    "steady", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize="CI" in os.environ
)
settings.load_profile("steady")
