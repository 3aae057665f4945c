"""Long proofs, run by ``make soak`` in a lane."""

from collections.abc import Callable

import pytest


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print although pytest captures: what was measured is the result."""

    def printed(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}")

    return printed
