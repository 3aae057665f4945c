"""How often a key set was used survives the daemon, whatever happens to the file."""

import logging
from pathlib import Path

import pytest

from sad.store.key_uses import KeyUses


def test_no_number_is_given_twice(tmp_path: Path) -> None:
    """RFC 4303 3.3.3: over a restart too; a rebuild may ask for a later one."""
    path = tmp_path / "state/key-uses.json"
    uses = KeyUses(path)
    assert uses.last("old") == -1
    assert [uses.take("old"), uses.take("old"), uses.take("new")] == [0, 1, 0]
    assert uses.take("old", at_least=7) == 7
    assert uses.take("old", at_least=2) == 8

    again = KeyUses(path)
    assert (again.last("old"), again.take("old"), again.last("new")) == (8, 9, 0)


def test_what_cannot_be_written_is_not_given(tmp_path: Path) -> None:
    """Else the next life would give it once more."""
    (tmp_path / "state").write_text("a file in the way")
    uses = KeyUses(tmp_path / "state/key-uses.json")

    for _ in range(2):
        with pytest.raises(OSError, match="state"):
            uses.take("old")
    (tmp_path / "state").unlink()
    assert uses.take("old") == 0


@pytest.mark.parametrize("text", ["", "[1]", '{"old": -3, "new": "x"}', "\x00"])
def test_a_damaged_file_begins_anew(
    tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A receiver need not look at the numbers (RFC 4303 section 5): no reason not to start."""
    path = tmp_path / "key-uses.json"
    path.write_text(text)

    with caplog.at_level(logging.WARNING):
        assert KeyUses(path).take("old") == 0
    assert KeyUses(path).last("old") == 0
