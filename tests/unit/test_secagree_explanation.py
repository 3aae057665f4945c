"""Why each element of a list is or is not taken, for both sides in one form (norms section 10)."""

import pytest

from sip_hooks.secagree import (
    Challenge,
    Circumstances,
    explain_list,
    explain_offers,
    parse_header,
)
from tests.support.secagree_messages import EXAMPLE
from tests.support.secagree_samples import POLICIES, offer

GIVEN = Circumstances("sip:proxy.example.com", Challenge())
OFFERS = parse_header(f"{offer()}, tls")


def peer(**changes: str | None) -> str:
    return offer(**{"spi_c": "1000", "spi_s": "1001", **changes})


@pytest.mark.parametrize(
    ("text", "taken", "reasons"),
    [
        (peer(q="0.1"), 0, []),
        (
            f"tls;q=0.1, kerberos;q=1, {peer(q='0.2')}, x;mediasec, ipsec-ike",
            2,
            ["lower-preference", "unknown-mechanism", "media-plane", "mechanism-not-listed"],
        ),
        (
            f"{peer(q='0.2', spi_c=None)}, tls;q=0.1",
            None,
            ["spi-missing", "lower-preference"],
        ),
        (f"{peer(ealg='null', q='0.2')}, tls;q=0.1", 1, ["mechanism-not-listed"]),
        (f"{peer(alg=None, q='0.1')}, tls;q=0.2", 1, ["algorithm-missing"]),
        ("kerberos", None, ["unknown-mechanism"]),
        ("", None, []),
    ],
)
def test_every_element_of_a_server_list_has_its_fate(
    text: str, taken: int | None, reasons: list[str]
) -> None:
    """Taken, refused with a reason, or the agreement ends there (R3329-2.3.1-j, R3329-2.3.1-k)."""
    verdict = explain_list(parse_header(text) if text else (), OFFERS, GIVEN)

    assert verdict.taken == taken
    assert [refusal.reason.value for refusal in verdict.refusals] == reasons


def test_offers_are_judged_by_policy_or_list() -> None:
    """Profile ims by its algorithms, profile rfc3329 by its static list (T33-7.2-a)."""
    by_policy = explain_offers(OFFERS, POLICIES["default"])
    by_list = explain_offers(OFFERS, EXAMPLE.mechanisms)

    assert (by_policy.taken, by_list.taken) == (0, 1)
    assert [r.reason.value for r in (*by_policy.refusals, *by_list.refusals)] == [
        "mechanism-not-listed",
        "mechanism-not-listed",
    ]


def test_a_refusal_that_ends_the_agreement_names_its_rule() -> None:
    """The lesser one is usable, and is not taken all the same (R3329-2.3.1-k)."""
    verdict = explain_list(parse_header(f"{peer(spi_c=None)};q=0.2, tls;q=0.1"), OFFERS, GIVEN)

    assert [refusal.rule for refusal in verdict.refusals] == ["T33-H-f", "R3329-2.3.1-k"]
