"""Keys from standard input or a descriptor, never from an argument: everybody sees those.

One line a key: hex digits alone (integrity, then encryption), or with the name of the field before
it (``integrity_key_in``, ``encryption_key_out``), as a key file has it. At a terminal it is asked
for without an echo.
"""

import os
import sys
from typing import Final

from sad.ctl.failures import Exit, Failure

FIELDS: Final = (
    "integrity_key",
    "integrity_key_in",
    "integrity_key_out",
    "encryption_key",
    "encryption_key_in",
    "encryption_key_out",
)

_MOST_BYTES: Final = 4096
_WAY_OUT: Final = (
    "one line a key in hex digits: integrity, then encryption; or FIELD = HEX with "
    f"{', '.join(FIELDS)}"
)


def read_keys(descriptor: int | None, *, wants_encryption: bool) -> dict[str, str]:
    """Return the keys by their names on the wire. Raises Failure, which never repeats a key."""
    if descriptor is None and sys.stdin is not None and sys.stdin.isatty():
        return _ask(wants_encryption=wants_encryption)
    try:
        text = _read(0 if descriptor is None else descriptor)
    except OSError as error:
        reason = f"the keys cannot be read: {error.strerror}"
        raise Failure(reason, "is the descriptor open? --key-fd 3 3<FILE", Exit.USAGE) from None
    return parse_keys(text)


def parse_keys(text: str) -> dict[str, str]:
    """Return the keys of a text. Pure."""
    rows = [row for line in text.splitlines() if (row := line.partition("#")[0].strip())]
    found: dict[str, str] = {}
    bare = ["integrity_key", "encryption_key"]
    for row in rows:
        name, _, value = row.replace(":", "=").partition("=")
        if value:
            field, digits = name.strip(), value.strip().strip("\"'")
        else:
            if not bare:
                raise _refusal("more than two keys without a name")
            field, digits = bare.pop(0), row
        if field not in FIELDS:
            raise _refusal("a line has another name than those of keys")
        if field in found:
            raise _refusal(f"{field} is there twice")
        found[field] = digits
    if not found:
        raise _refusal("there is no key")
    return {_camel(field): digits for field, digits in found.items()}


def _read(descriptor: int) -> str:
    parts = []
    left = _MOST_BYTES + 1
    while left and (part := os.read(descriptor, left)):
        parts.append(part)
        left -= len(part)
    if not left:
        raise _refusal("the input is too long")
    try:
        return b"".join(parts).decode("ascii")
    except UnicodeDecodeError:
        raise _refusal("the input is no text of hex digits") from None


def _ask(*, wants_encryption: bool) -> dict[str, str]:
    import getpass  # noqa: PLC0415 - only here: sadctl starts fast

    rows = [getpass.getpass("integrity key (hex digits, not shown): ")]
    if wants_encryption:
        rows.append(getpass.getpass("encryption key (hex digits, not shown): "))
    return parse_keys("\n".join(rows))


def _refusal(reason: str) -> Failure:
    return Failure(f"the keys cannot be used: {reason}", _WAY_OUT, Exit.USAGE)


def _camel(field: str) -> str:
    first, *rest = field.split("_")
    return first + "".join(part.capitalize() for part in rest)
