"""Header fields of real handsets and networks: each is read, or refused, as its comment says.

The expectations stand in tests/vectors/security-headers.txt beside the fields.
"""

import re
from typing import NamedTuple

import pytest

from sip_hooks.secagree import (
    HeaderError,
    HeaderName,
    choose_mechanism,
    find_difference,
    parse_header,
    parse_header_line,
    render_header_line,
    repeated_preference,
)
from tests.support.secagree_samples import POLICIES, VECTORS


class Vector(NamedTuple):
    line: str
    mechanisms: int
    error_at: int | None
    equal_preferences: bool
    fates: dict[str, list[str]]


def read_vectors() -> list[Vector]:
    vectors: list[Vector] = []
    expectations: list[str] = []
    for line in VECTORS.read_text(encoding="utf-8").splitlines():
        if line.startswith("# -> "):
            expectations.append(line.removeprefix("# -> "))
        elif line.startswith("Security-"):
            vectors.append(_vector(line, expectations))
            expectations = []
    return vectors


def _vector(line: str, expectations: list[str]) -> Vector:
    first, *fates = expectations
    error = re.fullmatch(r"syntax error at (\d+)", first)
    counted = re.fullmatch(r"mechanisms (\d+)(; equal q)?", first)
    if error is not None:
        return Vector(line, 0, int(error[1]), equal_preferences=False, fates={})
    assert counted is not None, first
    return Vector(
        line,
        int(counted[1]),
        None,
        equal_preferences=counted[2] is not None,
        fates={name: words.split() for name, words in (fate.split(": ") for fate in fates)},
    )


ALL = read_vectors()
READABLE = [vector for vector in ALL if vector.error_at is None]
CLIENT = [vector for vector in READABLE if vector.line.startswith("Security-Client")]


def short(vector: Vector) -> str:
    return vector.line[:60]


def test_the_corpus_is_whole() -> None:
    """Every kind of field is there, and every offer has an expectation per policy."""
    assert len(ALL) == 64
    assert {vector.line.partition(":")[0] for vector in ALL} == {name.value for name in HeaderName}
    for vector in CLIENT:
        assert vector.fates.keys() == POLICIES.keys()


@pytest.mark.parametrize("vector", READABLE, ids=short)
def test_a_readable_field_keeps_its_mechanisms(vector: Vector) -> None:
    """Real fields are read (R3329-2.2-a) and what is printed reads the same."""
    name, mechanisms = parse_header_line(vector.line)

    assert len(mechanisms) == vector.mechanisms
    assert (repeated_preference(mechanisms) is not None) == vector.equal_preferences
    assert parse_header_line(render_header_line(name, mechanisms)) == (name, mechanisms)
    written = re.sub(r"\s", "", vector.line)
    assert re.sub(r"\s", "", render_header_line(name, mechanisms)) == written


@pytest.mark.parametrize("vector", [v for v in ALL if v.error_at is not None], ids=short)
def test_an_unreadable_field_is_refused_at_its_character(vector: Vector) -> None:
    """Malformed fields raise HeaderError with the position (R3329-2.2-a)."""
    with pytest.raises(HeaderError) as caught:
        parse_header_line(vector.line)

    assert caught.value.position == vector.error_at


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("vector", CLIENT, ids=short)
def test_every_offer_of_a_real_list_gets_its_fate(vector: Vector, policy: str) -> None:
    """One offer is chosen or none, and each other one is refused for its reason (T33-7.2-a)."""
    _, offers = parse_header_line(vector.line)
    selection = choose_mechanism(offers, POLICIES[policy])

    fates = {refusal.offer_index: refusal.reason.value for refusal in selection.refusals}
    if selection.choice is not None:
        fates[selection.choice.offer_index] = "chosen"
    assert [fates[index] for index in range(len(offers))] == vector.fates[policy]


@pytest.mark.parametrize("vector", READABLE, ids=short)
def test_a_mirrored_real_list_equals_the_one_sent(vector: Vector) -> None:
    """Case of names and tokens, white space and parameter order change nothing (R3329-2.3.1-m)."""
    _, sent = parse_header_line(vector.line)
    value = vector.line.partition(":")[2]
    elements = [element.split(";") for element in value.split(",")]
    mirrored = " , ".join(
        " ; ".join([name.upper(), *(p if '"' in p else p.upper() for p in reversed(parameters))])
        for name, *parameters in elements
    )

    assert find_difference(sent, parse_header(mirrored)) is None
