"""RFC 3329's lists at an endpoint: the choice, the static answer, what must come back."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from sad.core.agreement import (
    Choice,
    brings_new_spis,
    check_mirrored,
    choose,
    choose_prepared,
    security_server,
    server_policy,
)
from sad.model.agreement import OfferRecord
from sad.model.endpoint import Profile
from sad.model.errors import (
    AlgorithmUnavailable,
    BadHeader,
    NoCommonMechanism,
    SadError,
    VerifyMismatch,
)
from sip_hooks.secagree import (
    PolicyError,
    UserAgentParameters,
    build_security_server,
    render_header,
)
from tests.support.make import ALL_PAIRS, endpoint, offer_record, sa_set, security_client

NOTHING: frozenset[str] = frozenset()
STRICT = endpoint(algorithms=(("hmac-sha-1-96", "aes-cbc"), ("hmac-sha-1-96", "null")))
STATIC = endpoint(
    profile=Profile.RFC3329,
    security_server="tls;q=0.4, ipsec-man;q=0.2, ipsec-ike;q=0.3, digest;q=0.1;d-qop=auth",
)
KERNEL = frozenset({"ipsec-man", "ipsec-ike"})


def chosen(choice: Choice) -> UserAgentParameters:
    """The parameters of a choice of ipsec-3gpp."""
    assert choice.parameters is not None
    return choice.parameters


def test_the_endpoints_order_decides() -> None:
    """T33-7.2-a: the first pair of our list that the phone offers; every other offer is told."""
    rows = (security_client(), f"tls, {security_client(ealg='aes-cbc')}")

    choice = choose(rows, STRICT, NOTHING)

    assert choice.mechanism == "ipsec-3gpp"
    assert chosen(choice).encryption_algorithm == "aes-cbc"
    told = [(r.offer_index, r.mechanism, r.reason) for r in choice.refusals]
    assert told == [(0, "ipsec-3gpp", "lower-preference"), (1, "tls", "mechanism-not-listed")]


def test_what_the_kernel_lacks_is_neither_chosen_nor_sent() -> None:
    """An algorithm is offered only if the first SA of it will succeed."""
    missing = frozenset({"hmac-sha-1-96/aes-cbc"})
    rows = (f"{security_client()}, {security_client(ealg='aes-cbc')}",)

    assert chosen(choose(rows, STRICT, missing)).encryption_algorithm == "null"
    assert "aes-cbc" not in security_server(sa_set(), STRICT, missing)
    with pytest.raises(AlgorithmUnavailable, match="every algorithm"):
        choose(rows, STRICT, missing | {"hmac-sha-1-96/null"})


def test_the_list_that_is_sent_is_static() -> None:
    """R3329-2.1-c, R3329-2.3.1-g: all our pairs in our order, whatever was offered."""
    server = security_server(sa_set(encryption_algorithm="null"), STRICT, NOTHING)

    assert server.index("aes-cbc") < server.index("ealg=null")
    assert server.count("spi-c=70001;spi-s=70002;port-c=5068;port-s=5064") == 2


@pytest.mark.parametrize(
    ("row", "reason", "rule"),
    [
        ("digest;d-qop=auth", "mechanism-not-listed", "R3329-2.3.1-h"),
        ("ipsec-3gpp;q=0.1", "algorithm-missing", None),
        (security_client(port_c=5060), "sip-port", "T33-7.1-e"),
        (security_client(spi_c=100), "reserved-spi", "IPS-1"),
        (security_client(spi_c=25657), "equal-spis", "T33-7.1-f"),
    ],
)
def test_nothing_to_take_is_refused_offer_by_offer(
    row: str, reason: str, rule: str | None
) -> None:
    """T33-7.3.2.1: an error at once, and an operator sees why."""
    with pytest.raises(NoCommonMechanism) as refusal:
        choose((row,), STRICT, NOTHING)

    (told,) = refusal.value.refusals
    assert told.reason == reason
    assert rule in (None, told.rule)


def test_switches_of_the_endpoint_reach_the_choice() -> None:
    """IPS-1, T33-7.1-e, T33-H-b: odd phones get in where the operator said so."""
    odd = endpoint(accept_reserved_spi=True, accept_sip_port=True, algorithms=ALL_PAIRS)
    rows = (security_client(spi_c=100, port_c=5060).replace("hmac-sha-1-96", "hmac-md5-96"),)

    assert chosen(choose(rows, odd, NOTHING)).spi_uc == 100


@pytest.mark.parametrize(
    ("rows", "row", "position", "reason"),
    [
        ((), 0, 0, "missing"),
        ((security_client(), "ipsec-3gpp;;"), 1, 11, "a parameter is missing"),
        (("",), 0, 0, "missing"),
        (("x" * 4097,), 0, 0, "more than 4096 bytes"),
        (("ipsec-3gpp\udcff",), 0, 10, "stands where"),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_with_its_place(
    rows: tuple[str, ...], row: int, position: int, reason: str
) -> None:
    """T24-P-1, R3329-2.2-a: row and position; what is kept of a header is bounded."""
    with pytest.raises(BadHeader, match=reason) as refusal:
        choose(rows, STRICT, NOTHING)

    assert (refusal.value.header, refusal.value.row) == ("Security-Client", row)
    assert refusal.value.position == position


def record() -> OfferRecord:
    client = choose((security_client(),), STRICT, NOTHING).text
    return offer_record(
        security_client=client, security_server=security_server(sa_set(), STRICT, NOTHING)
    )


def test_lists_that_mean_the_same_pass() -> None:
    """R3329-2.3.1-m, T33-H-g: parameter order, case, white space and rows are free."""
    kept = record()
    first, second = kept.security_server.split(", ")
    name, *parameters = first.split(";")
    shuffled = f"{name.upper()} ;\t{'; '.join(reversed(parameters))}"

    check_mirrored(kept, (shuffled, second), (f" {security_client()} ",))


@pytest.mark.parametrize(
    ("verify", "client", "header", "difference"),
    [
        ("", "same", "Security-Verify", "missing"),
        ("shorter", "same", "Security-Verify", "1: 1 mechanisms instead of 2"),
        ("spi", "same", "Security-Verify", "0: another value of 'spi-s'"),
        ("same", "", "Security-Client", "missing"),
        ("same", "spi", "Security-Client", "0: another value of 'spi-s'"),
        ("spi", "spi", "Security-Verify", "0: another value of 'spi-s'"),
    ],
)
def test_a_list_that_came_back_changed_is_a_mismatch(
    verify: str, client: str, header: str, difference: str
) -> None:
    """T33-7.3.2.3, R3329-2.3.1-o: which header, what differs, and the list for the 494."""
    kept = record()

    def changed(text: str, how: str) -> tuple[str, ...]:
        return {
            "": (),
            "same": (text,),
            "shorter": (text.split(", ", maxsplit=1)[0],),
            "spi": (text.replace("spi-s=", "spi-s=1"),),
        }[how]

    with pytest.raises(VerifyMismatch) as refusal:
        check_mirrored(
            kept, changed(kept.security_server, verify), changed(kept.security_client, client)
        )

    assert (refusal.value.header, refusal.value.difference) == (header, difference)
    assert refusal.value.security_server == kept.security_server


def test_the_longest_list_that_is_taken_can_come_back() -> None:
    """What is kept is one row, and may be a little longer than the rows that came."""
    row = security_client()
    rows = (*("a" for _ in range(31)), row + ";x=" + "y" * (4096 - len(row) - 3 - 31))
    choice = choose(rows, STRICT, NOTHING)
    assert len(choice.text) > 4096

    check_mirrored(
        structs.replace(record(), security_client=choice.text),
        (record().security_server,),
        rows,
    )


_PIECES = st.sampled_from(
    [
        *'abq;,="\\ \t\r\n[]:.1\x7fé\udcff',
        *("ipsec-3gpp", "digest", "alg", "ealg=aes-cbc", "spi-c", "d-ver", "mediasec", "=1"),
        *(security_client(), "0" * 12),
    ]
)


@given(rows=st.lists(st.lists(_PIECES, max_size=12).map("".join), max_size=4))
def test_whatever_a_phone_writes_is_taken_or_refused(rows: list[str]) -> None:
    """Design 5: bad bytes never crash; what is taken passes when it comes back."""
    with contextlib.suppress(SadError):
        brings_new_spis(rows, sa_set())
    with contextlib.suppress(SadError):
        check_mirrored(record(), rows, rows)
    try:
        choice = choose(rows, STRICT, NOTHING)
    except SadError:
        return
    kept = structs.replace(record(), security_client=choice.text)
    check_mirrored(kept, (kept.security_server,), rows)


@pytest.mark.parametrize(
    ("rows", "new"),
    [
        ((security_client(),), False),
        ((security_client(spi_c=1025657, spi_s=7),), True),
        ((security_client(spi_c=7, spi_s=8), "tls"), True),
        ((security_client(spi_c=7, spi_s="0025657"),), False),
        (("tls",), False),
        ((), False),
    ],
)
def test_new_values_tell_a_new_attempt(rows: tuple[str, ...], new: bool) -> None:
    """T24-UE-6: who answers a challenge repeats the SPIs that its set works by."""
    assert brings_new_spis(rows, sa_set()) is new


@pytest.mark.parametrize(
    ("rows", "prepared"),
    [
        (("ipsec-man, tls, ipsec-ike",), ["ipsec-ike", "ipsec-man"]),
        (("ipsec-man;q=1", "digest"), ["ipsec-man"]),
        ((), ["ipsec-ike", "ipsec-man"]),
    ],
)
def test_what_must_be_prepared_is_what_both_lists_have(
    rows: tuple[str, ...], prepared: list[str]
) -> None:
    """R3329-2.3.1-h, R3329-2.3.1-j: by the server's q; who has offered nothing may know all."""
    choices = choose_prepared(rows, STATIC, KERNEL)

    assert [c.mechanism for c in choices] == prepared


def test_a_peer_that_has_nothing_to_be_prepared_is_told_so() -> None:
    """Each of its offers has its refusal."""
    with pytest.raises(NoCommonMechanism) as refused:
        choose_prepared(("tls, digest",), STATIC, KERNEL)

    assert [r.mechanism for r in refused.value.refusals] == ["tls", "digest"]


@pytest.mark.parametrize("pairs", [ALL_PAIRS, ALL_PAIRS[:1]])
def test_security_server_is_what_the_grammar_would_write(
    pairs: tuple[tuple[str, str], ...],
) -> None:
    """The numbers of a set put into the written list give the list that is made of them."""
    one = endpoint(algorithms=pairs)
    for spi_pc, spi_ps, port_pc, port_ps in (
        (256, 4_294_967_295, 1, 65_535),
        (4_294_967_282, 4_294_967_281, 65_521, 65_519),
        (70_001, 70_002, 5068, 5064),
    ):
        own = {"spi_pc": spi_pc, "spi_ps": spi_ps, "port_pc": port_pc, "port_ps": port_ps}
        made = build_security_server(server_policy(one, NOTHING), **own)
        assert security_server(sa_set(**own), one, NOTHING) == render_header(made)


def test_security_server_has_no_number_that_must_not_be_sent() -> None:
    """IPS-1, T33-7.1-e: what is written once is checked for each set."""
    with pytest.raises(PolicyError):
        security_server(sa_set(spi_pc=255), endpoint(), NOTHING)
