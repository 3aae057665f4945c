"""The Security-Server list of profile ``ims`` (norms sections 1, 2, 10, 11 and 16)."""

import itertools

import pytest

from sip_hooks.secagree import (
    Ipsec3gppParameters,
    PolicyError,
    SecMechanism,
    ServerPolicy,
    build_security_server,
    find_difference,
    is_legal_pair,
    parse_header,
    read_ipsec_3gpp,
    render_header,
    write_ipsec_3gpp,
)
from sip_hooks.secagree.ipsec_3gpp import ENCRYPTION_ALGORITHMS, INTEGRITY_ALGORITHMS
from tests.support.secagree_samples import MODERN, POLICIES

OWN = {"spi_pc": 4096, "spi_ps": 4294967295, "port_pc": 5100, "port_ps": 6100}


def test_one_pair_is_one_element_without_q() -> None:
    """With a single mechanism q says nothing (INTEROP-8); defaults are spelled out (T33-H-e)."""
    sent = build_security_server(ServerPolicy(MODERN[:1]), **OWN)

    assert render_header(sent) == (
        "ipsec-3gpp;prot=esp;mod=trans;spi-c=4096;spi-s=4294967295;port-c=5100;port-s=6100"
        ";alg=hmac-sha-1-96;ealg=aes-cbc"
    )


def test_several_pairs_carry_falling_q_in_the_policys_order() -> None:
    """All q differ (R3329-2.2-g) and are always sent (INTEROP-8); q and order agree."""
    sent = build_security_server(POLICIES["legacy"], **OWN)

    assert [mechanism.preference for mechanism in sent] == [600, 500, 400, 300, 200, 100]
    assert tuple(read_ipsec_3gpp(m).algorithms for m in sent) == POLICIES["legacy"].algorithms
    assert str(sent[0]).startswith("ipsec-3gpp;q=0.6;prot=esp;")


def test_q_values_stay_distinct_for_the_longest_list() -> None:
    """All pairs that there are, at once, get distinct q values (R3329-2.2-g, T33-H-c)."""
    pairs = itertools.product(sorted(INTEGRITY_ALGORITHMS), sorted(ENCRYPTION_ALGORITHMS))
    policy = ServerPolicy(
        tuple(filter(is_legal_pair, pairs)), accept_withdrawn=True, accept_extensions=True
    )
    preferences = [m.preference or 0 for m in build_security_server(policy, **OWN)]

    assert len(preferences) == len(set(preferences)) == 11
    assert preferences == sorted(preferences, reverse=True)
    assert 0 < preferences[-1] < preferences[0] <= 1000


def test_every_element_has_the_same_spis_and_ports() -> None:
    """One SA set, whichever pair the user agent takes (T33-H-h, GAP-6)."""
    for mechanism in build_security_server(POLICIES["legacy"], **OWN):
        parameters = read_ipsec_3gpp(mechanism)
        assert (parameters.spi_c, parameters.spi_s) == (4096, 4294967295)
        assert (parameters.port_c, parameters.port_s) == (5100, 6100)
        assert (parameters.prot, parameters.mod) == ("esp", "trans")


def test_the_list_verifies_against_its_mirror() -> None:
    """What is sent and comes back is equal (R3329-2.3.1-m), one changed digit is not."""
    sent = build_security_server(POLICIES["default"], **OWN)
    mirrored = render_header(sent)

    assert find_difference(sent, parse_header(mirrored)) is None
    assert find_difference(sent, parse_header(mirrored.replace("4096", "4097", 1))) is not None


@pytest.mark.parametrize(
    ("name", "value", "rule"),
    [
        ("spi_pc", 255, "IPS-1"),
        ("spi_ps", 0, "IPS-1"),
        ("spi_ps", 2**32, "IPS-1"),
        ("spi_pc", 4294967295, "T33-7.1-f"),
        ("port_pc", 5060, "T33-7.1-e"),
        ("port_ps", 5061, "T33-7.1-e"),
        ("port_ps", 0, "T33-7.1-e"),
        ("port_pc", 65536, "T33-7.1-e"),
        ("port_pc", 6100, "T33-7.1-f"),
    ],
)
def test_own_values_that_break_a_rule_are_never_sent(name: str, value: int, rule: str) -> None:
    """SPIs from 256, ports other than SIP's, both sides distinct (IPS-1, T33-7.1-e, -f)."""
    with pytest.raises(PolicyError) as caught:
        build_security_server(POLICIES["default"], **{**OWN, name: value})

    assert caught.value.rule == rule


def test_parameters_survive_being_written_and_read() -> None:
    """The typed form and the element say the same, UDP-enc-tun in the spelling of T33-H-a."""
    parameters = Ipsec3gppParameters(
        "null", "aes-gcm", mod="udp-enc-tun", spi_c=1, spi_s=2, port_c=3, port_s=4
    )
    written = write_ipsec_3gpp(parameters, preference=5)

    assert written == SecMechanism(*parse_header(str(written))[0])
    assert written.get("mod") == ("mod", "UDP-enc-tun", False)
    assert written.preference == 5
    assert read_ipsec_3gpp(written) == parameters


@pytest.mark.parametrize(
    ("preference", "text"), [(0, "0"), (1000, "1"), (50, "0.05"), (7, "0.007")]
)
def test_a_preference_is_written_as_the_shortest_qvalue(preference: int, text: str) -> None:
    """Thousandths print as a qvalue of R3329-2.2-b."""
    written = write_ipsec_3gpp(Ipsec3gppParameters("hmac-sha-1-96"), preference)

    assert written.get("q") == ("q", text, False)
