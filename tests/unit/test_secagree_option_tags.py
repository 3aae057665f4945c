"""The option tag sec-agree in the headers of a request (norms sections 4, 5 and 8)."""

import pytest

from sip_hooks.secagree import (
    OptionTagHeader,
    has_sec_agree,
    option_tag_header,
    read_agreement_tags,
    strip_agreement_tags,
    strip_sec_agree,
)


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("Require", OptionTagHeader.REQUIRE),
        ("REQUIRE", OptionTagHeader.REQUIRE),
        ("proxy-require", OptionTagHeader.PROXY_REQUIRE),
        ("Supported", OptionTagHeader.SUPPORTED),
        ("k", OptionTagHeader.SUPPORTED),
        ("K ", OptionTagHeader.SUPPORTED),
        ("Unsupported", None),
        ("r", None),
        ("", None),
    ],
)
def test_headers_are_known_by_name_and_compact_form(
    name: str, header: OptionTagHeader | None
) -> None:
    """Supported has the compact form k (R3329-2.3.2-g), the others have none."""
    assert option_tag_header(name) is header


@pytest.mark.parametrize(
    "row",
    ["sec-agree", " Sec-Agree\t", "path, SEC-AGREE ,gruu", "path,\r\n sec-agree", ",sec-agree"],
)
def test_the_tag_is_found_in_any_case_and_place(row: str) -> None:
    """Option tags compare case-insensitively, rows are lists (R3261-7.3.1-a, R3261-7.3.1-b)."""
    assert has_sec_agree(("timer", row))


@pytest.mark.parametrize(
    "row", ["", "sec-agreement", "x-sec-agree", "sec agree", "path;sec-agree"]
)
def test_another_tag_is_not_taken_for_it(row: str) -> None:
    """Only the whole tag counts (R3329-6-b)."""
    assert not has_sec_agree((row,))


def test_each_header_is_told_apart() -> None:
    """Require and Proxy-Require demand it (R3329-2.3.1-e), Supported does not (R3329-2.3.2-e)."""
    via = ("Via", "SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKsec-agree")

    assert read_agreement_tags([via]) == (False, False, False)
    assert read_agreement_tags([via, ("k", "path"), ("k", "sec-agree")]) == (False, False, True)
    assert read_agreement_tags([("Require", "sec-agree")]).demanded
    assert read_agreement_tags([("PROXY-REQUIRE", "a,sec-agree")]).demanded
    assert not read_agreement_tags([("Supported", "sec-agree")]).demanded


@pytest.mark.parametrize(
    ("rows", "left"),
    [
        (["sec-agree"], []),
        (["Sec-Agree, SEC-AGREE"], []),
        (["sec-agree,"], []),
        (["path, sec-agree, gruu"], ["path, gruu"]),
        (["path", "sec-agree", "gruu , sec-agree"], ["path", "gruu"]),
        (["path ,  gruu"], ["path ,  gruu"]),
        ([], []),
    ],
)
def test_stripping_leaves_every_other_tag(rows: list[str], left: list[str]) -> None:
    """Other option tags survive, in order; empty headers go (R3329-2.3.1-p)."""
    assert list(strip_sec_agree(rows)) == left


def test_a_proxy_strips_both_headers_and_nothing_else() -> None:
    """Sec-agree leaves Require and Proxy-Require, and they go when empty (R3329-2.3.1-p)."""
    headers = [
        ("Via", "SIP/2.0/TCP 192.0.2.1;branch=z9hG4bK1"),
        ("require", "sec-agree"),
        ("Proxy-Require", "sec-agree, precondition"),
        ("Supported", "sec-agree, path"),
        ("Require", "Pref, SEC-agree"),
        ("k", "sec-agree"),
    ]

    assert strip_agreement_tags(headers) == (
        headers[0],
        ("Proxy-Require", "precondition"),
        headers[3],
        ("Require", "Pref"),
        headers[5],
    )
