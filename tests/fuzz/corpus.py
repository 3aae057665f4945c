"""The corpus: real header fields, and inputs that once reached something new.

``tests/vectors/fuzz-corpus.txt`` holds one input a line, in Python's escapes without the quotes.
"""

import ast
from pathlib import Path
from typing import Final

from tests.fuzz.targets import SEPARATOR
from tests.support.secagree_samples import VECTORS

CORPUS: Final = VECTORS.parent / "fuzz-corpus.txt"

_REQUESTS: Final = (
    ("aaa", "Via: SIP/2.0/UDP a", "Require: sec-agree", "Security-Client: tls"),
    ("aaa", "Via: SIP/2.0/UDP a", "k: x, sec-agree"),
    ("aab", 'v: SIP/2.0/UDP a;x=",", SIP/2.0/TCP b'),
    ("bab", "Via: x", "Security-Verify: tls;q=0.5"),
)


def real_inputs() -> list[bytes]:
    """Return every field of the vectors as an input, and a few whole requests."""
    lines = VECTORS.read_text(encoding="utf-8").splitlines()
    values = [line.partition(":")[2].strip() for line in lines if line.startswith("Security-")]
    fields = [f"h{value}" for value in values]
    requests = [f"r{head}{SEPARATOR.join(rows)}" for head, *rows in _REQUESTS]
    return [text.encode() for text in (*fields, *requests)]


def kept_inputs(path: Path = CORPUS) -> list[bytes]:
    """Return the inputs that are kept."""
    lines = path.read_text(encoding="ascii").splitlines() if path.exists() else []
    return [ast.literal_eval(f"b'{line}'") for line in lines if not line.startswith("#")]


def written(data: bytes) -> str:
    """Return an input as a line of the file."""
    shown = repr(b'"' + data)  # a double quote makes repr choose the single ones
    return shown[3:-1]
