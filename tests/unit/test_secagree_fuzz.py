"""A short run of the fuzzers: the corpus, and inputs that grammar and chance make of it.

The long run, guided by coverage, is ``make fuzz``.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.corpus import kept_inputs, real_inputs, written
from tests.fuzz.targets import SEPARATOR, check
from tests.support.secagree_samples import mechanism_lists

CORPUS = [*real_inputs(), *kept_inputs()]


def test_the_corpus_is_small_and_kept() -> None:
    """Every input comes back from its line as it was; the folder stays readable."""
    kept = kept_inputs()

    assert 50 < len(kept) <= 200
    assert max(map(len, kept)) <= 1024
    assert written(b"'\"\\\n\xff\x1e") == "\\'\"\\\\\\n\\xff\\x1e"


@pytest.mark.parametrize("data", CORPUS, ids=lambda data: written(data)[:30])
def test_what_was_once_new_holds(data: bytes) -> None:
    """Inputs that reached something new (R3329-2.2-a, R3329-2.3.1-g, GAP-2)."""
    check(data)


@given(st.sampled_from(CORPUS), st.binary(max_size=8), st.integers(0, 600), st.integers(0, 8))
def test_mutations_of_the_corpus_hold(data: bytes, put: bytes, at: int, cut: int) -> None:
    """Insert and delete anywhere, also in whole requests (R3329-2.2-a)."""
    check(data[:at] + put + data[at + cut :])


@given(st.binary(max_size=64))
def test_any_bytes_hold(data: bytes) -> None:
    """Noise ends in values or typed errors (R3329-2.2-a)."""
    check(b"h" + data)
    check(b"r" + data)


@given(st.lists(mechanism_lists, min_size=1, max_size=4))
def test_lists_of_the_grammar_hold(rows: list[list[object]]) -> None:
    """Everything the grammar can say, in rows (R3261-7.3.1-b)."""
    text = SEPARATOR.join(", ".join(map(str, row)) for row in rows)
    check(f"h{text}".encode())


_PIECES = st.sampled_from(
    [
        "Via: SIP/2.0/UDP a",
        "Require: sec-agree",
        "Proxy-Require: x, sec-agree",
        "Supported: sec-agree",
        "k: sec-agree",
        "Security-Client: tls, digest",
        "Security-Verify: tls;q=0.5, ipsec-ike;q=0.4",
        "Security-Verify: tls;;",
        "To: a",
    ]
)


@given(st.text("abcdefghijkl", min_size=3, max_size=3), st.lists(_PIECES, max_size=6))
def test_requests_hold(switches: str, lines: list[str]) -> None:
    """Whatever stands in a request, what it gets keeps the rules (R3329-2.3.1-n, INTEROP-10)."""
    check(f"r{switches}{SEPARATOR.join(lines)}".encode())
