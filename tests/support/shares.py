"""Two runs share one part of the tests: each takes the next file that nobody has taken.

A run of pytest, and a guest, uses one processor, and a machine mostly has more. No list of
durations is kept: who is done with a file takes another one. What the runs write lies apart, but
for the claims.
"""

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest


class Share:
    """The tests that fall to one of several runs that look at the same folder of claims."""

    def __init__(self, claims: Path) -> None:
        self._claims = claims
        claims.mkdir(parents=True, exist_ok=True)

    def _is_mine(self, path: Path) -> bool:
        try:
            (self._claims / path.name).mkdir()
        except FileExistsError:
            return False
        return True

    def _mine(self, items: list[pytest.Item]) -> Iterator[pytest.Item]:
        for path, of_file in groupby(items, lambda item: item.path):
            if self._is_mine(path):
                yield from of_file

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool | None:
        """Run what is free; as pytest's own loop otherwise."""
        if session.testsfailed or session.config.option.collectonly:
            return None  # its own loop says what is wrong
        mine = self._mine(session.items)
        item = next(mine, None)
        while item is not None:
            following = next(mine, None)
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
            item = following
        return True
