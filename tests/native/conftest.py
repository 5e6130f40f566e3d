"""Every test that hashes runs once with each SHA-256 implementation that this CPU has."""

from collections.abc import Iterator

import pytest

import native

BEST = native.implementation()


@pytest.fixture(scope="module", params=sorted({"portable", BEST}))
def implementation(request: pytest.FixtureRequest) -> Iterator[str]:
    """Use one implementation for the tests of a module, then go back to the best."""
    native.use_implementation(request.param)
    yield request.param
    native.use_implementation(BEST)
