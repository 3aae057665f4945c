"""Looking for secrets in files: as they are, and as anybody might have written them down."""

import base64
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

_HEAD: Final = 8
_UNWRITTEN: Final = re.compile(rb"\0{256,}")


def spellings(secret: bytes) -> Iterator[tuple[str, bytes]]:
    """Return each way to write a secret inside of something longer, with its name.

    In Base64 that is three for each alphabet, by where in a group of three bytes it begins; the
    characters that its neighbours share are left away.
    """
    yield "bytes", secret
    yield "hex", secret.hex().encode()
    yield "HEX", secret.hex().upper().encode()
    for name, encode in (("base64", base64.b64encode), ("base64url", base64.urlsafe_b64encode)):
        for before, shared in ((0, 0), (1, 2), (2, 3)):
            text = encode(bytes(before) + secret)
            yield f"{name}+{before}", text[shared : (before + len(secret)) * 8 // 6]


def find(folder: Path, secrets: Mapping[str, bytes]) -> dict[str, set[str]]:
    """Return which secrets lie in the files of a folder, and how they are spelt there."""
    files = (p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())
    # Logs are allotted in blocks of 64 MB that nobody has written to: no secret is all zeros.
    content = b"".join(_UNWRITTEN.sub(bytes(64), one) for one in files)
    assert content, f"there is nothing in {folder}"
    # By their first bytes: thousands of secrets in many megabytes are one walk.
    beginnings: defaultdict[bytes, list[tuple[str, str, bytes]]] = defaultdict(list)
    for name, secret in secrets.items():
        for spelling, text in spellings(secret):
            beginnings[text[:_HEAD]].append((name, spelling, text))
    found: dict[str, set[str]] = {}
    for at in range(len(content) - _HEAD + 1):
        for name, spelling, text in beginnings.get(content[at : at + _HEAD], ()):
            if content.startswith(text, at):
                found.setdefault(name, set()).add(spelling)
    return found
