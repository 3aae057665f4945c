"""Via and Route: the first hop (R3329-2.3.2-b), its address (T33-7.1-p2), and the way onward."""

import pytest

from sip_hooks.ims import has_one_via, same_routes, via_address, via_branch, via_host

VIA = "SIP/2.0/UDP 10.0.0.2:6800;branch=z9hG4bKa;rport"


@pytest.mark.parametrize(
    ("row", "host", "branch"),
    [
        (VIA, "10.0.0.2", "z9hG4bKa"),
        ("SIP / 2.0 / UDP 10.0.0.2 : 5060 ; Branch = z9hG4bKa", "10.0.0.2", "z9hG4bKa"),
        ("sip/2.0/tcp\r\n\t10.0.0.2\r\n ;rport;branch=z9hG4bKa", "10.0.0.2", "z9hG4bKa"),
        ("SIP/2.0/TCP [2001:DB8:0:0::2]:6800;branch=z", "2001:db8::2", "z"),
        ("SIP/2.0/UDP [2001:db8::2];received=2001:db8::2;branch=z", "2001:db8::2", "z"),
        ("SIP/2.0/TLS UE.example;branch=z;keep", "ue.example", "z"),
        ('SIP/2.0/UDP 10.0.0.2;x="a;branch=y";branch=z', "10.0.0.2", "z"),
        ("SIP/2.0/UDP 10.0.0.2", "10.0.0.2", ""),
        ("SIP/2.0/UDP 10.0.0.2;branch", "10.0.0.2", ""),
        ("SIP/2.0/UDP 10.0.0.2;branch=a;branch=b", "10.0.0.2", ""),
        ("SIP/2.0/UDP my_phone:5060;branch=z", "my_phone", "z"),
    ],
)
def test_a_via_names_its_sender_and_its_branch(row: str, host: str, branch: str) -> None:
    """However it is spaced or folded (RFC 3261 20.42); an IPv6 address has one writing."""
    assert (via_host(row), via_branch(row)) == (host, branch)
    assert has_one_via([row])


@pytest.mark.parametrize(
    "row",
    [
        "",
        "SIP/2.0/UDP",
        "SIP/2.0/UDP ",
        "10.0.0.2;branch=z",
        "SIP/3.0/UDP 10.0.0.2;branch=z",
        "SIP/2.0/UDP 10.0.0.2 5060;branch=z",
        "SIP/2.0/UDP 10.0.0.9 10.0.0.2;branch=z",
        "SIP/2.0/UDP 10.0.0.2:;branch=z",
        "SIP/2.0/UDP 10.0.0.2:a;branch=z",
        "SIP/2.0/UDP 2001:db8::2;branch=z",
        "SIP/2.0/UDP [2001:db8::2;branch=z",
        "SIP/2.0/UDP 10.0.0.2 (10.0.0.9);branch=z",
        "SIP/2.0/UDP (10.0.0.9) 10.0.0.2;branch=z",
        "SIP/2.0/UDP 10.0.0.2;branch=z (comment)",
        "SIP/2.0/UDP user@10.0.0.2;branch=z",
        "SIP/2.0/UDP 10.0.0.2\x00;branch=z",
        "SIP/2.0/UDP 10.0.0.2;branch=z, SIP/2.0/UDP 10.0.0.3;branch=y",
        "SIP/2.0/UDP 10.0.0.2;x=<, SIP/2.0/UDP 10.0.0.3;branch=y>",
        "SIP/2.0/UDP 10.0.0.2;branch=z,",
        'SIP/2.0/UDP 10.0.0.2;branch="z',
    ],
)
def test_what_is_not_one_via_is_not_the_first_hop(row: str) -> None:
    """No agreement is made with whoever may stand behind another hop (R3329-2.3.2-b)."""
    assert not has_one_via([row])
    assert (via_host(row), via_branch(row)) == ("", "")


@pytest.mark.parametrize("host", ["010.0.0.2", "[10.0.0.2]", "[::x]", "10.0.0.256", "10.2"])
def test_an_address_in_an_odd_writing_is_nobodys(host: str) -> None:
    """T33-7.1-p2 compares addresses: one that two readers read differently is none."""
    assert via_host(f"SIP/2.0/UDP {host}:5060;branch=z") == ""


def test_vias_are_counted_over_all_rows() -> None:
    """R3329-2.3.2-b: one value in one row."""
    assert has_one_via([VIA])
    assert not has_one_via([VIA, VIA])
    assert not has_one_via([f"{VIA}, {VIA}"])
    assert not has_one_via([VIA, ""])
    assert not has_one_via([])
    assert not has_one_via(['"'])


SERVICE_ROUTE = ("<sip:orig@scscf.example;lr>", "<sip:as.example:5070;lr;x=1>")


@pytest.mark.parametrize(
    "rows",
    [
        list(SERVICE_ROUTE),
        [", ".join(SERVICE_ROUTE)],
        ["<sip:orig@SCSCF.example:5060;LR>,\r\n <SIP:as.example:5070;x=1;lr>"],
        ['"home" <sip:orig@scscf.example;lr>;y', SERVICE_ROUTE[1]],
    ],
)
def test_the_way_may_be_written_otherwise(rows: list[str]) -> None:
    """URIs compare by meaning where that is without doubt (RFC 3261 19.1.4)."""
    assert same_routes(rows, SERVICE_ROUTE)


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [SERVICE_ROUTE[0]],
        [SERVICE_ROUTE[1], SERVICE_ROUTE[0]],
        [*SERVICE_ROUTE, "<sip:evil.example;lr>"],
        ["<sip:evil.example;lr>", *SERVICE_ROUTE],
        ["<sip:term@scscf.example;lr>", SERVICE_ROUTE[1]],
        ["<sips:orig@scscf.example;lr>", SERVICE_ROUTE[1]],
        ["<sip:orig@scscf.example>", SERVICE_ROUTE[1]],
        ["<sip:orig@scscf.example;lr;maddr=10.9.9.9>", SERVICE_ROUTE[1]],
        ["<sip:orig@scscf.example;lr?Route=x>", SERVICE_ROUTE[1]],
        ["<sip:orig@scscf.example;lr;lr>", SERVICE_ROUTE[1]],
        ["<sip:orig@scscf.example:5061;lr>", SERVICE_ROUTE[1]],
        ['"<sip:evil.example>" <sip:orig@scscf.example;lr>', SERVICE_ROUTE[1]],
        [SERVICE_ROUTE[0] + "garbage", SERVICE_ROUTE[1]],
        ["<sip:orig@scscf.example;lr", SERVICE_ROUTE[1]],
    ],
)
def test_another_way_is_another(rows: list[str]) -> None:
    """TS 24.229 5.2.6.3: nothing of it is left out, added or changed."""
    assert not same_routes(rows, SERVICE_ROUTE)


def test_no_way_equals_no_way() -> None:
    """A registrar without Service-Route expects no Route."""
    assert same_routes([], ())
    assert not same_routes([SERVICE_ROUTE[0]], ())


@pytest.mark.parametrize(
    ("via", "address"),
    [
        ("SIP/2.0/UDP 192.168.1.10:5060;branch=z9hG4bK1", "192.168.1.10"),
        ("SIP/2.0/TCP [FD00:7:0::2]:5060;rport", "fd00:7::2"),
        ("SIP/2.0/UDP phone.example.com", None),
        ("SIP/2.0/UDP 192.168.1.300", None),
        ("nonsense", None),
    ],
)
def test_via_address_is_none_of_a_name(via: str, address: str | None) -> None:
    """T33-M-a: only an address can be compared with that of the packet."""
    assert via_address(via) == address
