"""What must hold for any bytes: the checks that every fuzzer of the agreement runs.

:func:`check` takes one input; its first byte names the target. Inputs hold several rows or header
lines parted by the record separator, 0x1e, which no header can hold.
"""

from typing import Final

from sip_hooks.secagree import (
    CLIENT_TRANSITIONS,
    Assurances,
    Circumstances,
    ClientRules,
    ClientState,
    HeaderError,
    ParseLimits,
    Prediction,
    Profile,
    Protection,
    Request,
    Selection,
    ServerAction,
    ServerRules,
    Use,
    choose_mechanism,
    decide_request,
    find_difference,
    list_headers,
    parse_header,
    predict_choice,
    read_agreement_tags,
    read_server_list,
    render_header,
)
from sip_hooks.secagree.client_role import Answer, ask, begin, headers_for, receive, started
from tests.support.secagree_reference import read_row
from tests.support.secagree_samples import POLICIES

SEPARATOR: Final = "\x1e"

_STATIC: Final = "tls;q=0.5, ipsec-ike;q=0.4, digest;d-alg=MD5;d-qop=auth;q=0.3"
_OWN: Final = (
    *read_server_list(
        f"{_STATIC}, ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;q=0.6",
        Assurances(digest_verify=True, digest_nonce_count=True, tls_version=(1, 2)),
    ).fill(spi_pc=4096, spi_ps=4097, port_pc=5100, port_ps=6100),
)
_OFFERS: Final = parse_header(
    "ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1000;spi-s=1001;port-c=7001;port-s=7000, tls, ipsec-ike"
)
_GIVEN: Final = Circumstances("sip:proxy.example.com")
_ASKED: Final = ask(
    begin(ClientRules(use=Use.REQUIRED), _OFFERS), _GIVEN.target, "sip:proxy.example.com"
)[0]
_METHODS: Final = ("REGISTER", "INVITE", "OPTIONS", "ACK", "CANCEL", "PRACK", "PUBLISH", "")
_RULES: Final = tuple(
    ServerRules(profile=profile, use=use, is_proxy=is_proxy, lenient=is_proxy)
    for profile in Profile
    for use in Use
    for is_proxy in (True, False)
)
_SIZE: Final = 16 * 1024
NO_LIMITS: Final = ParseLimits(rows=_SIZE, mechanisms=_SIZE, parameters=_SIZE, size=8 * _SIZE)


def check(data: bytes) -> None:
    """Run the target that the first byte names; an AssertionError or any other is a finding."""
    text = data[1:].decode("utf-8", "surrogateescape")
    if data[:1] in {b"r", b"R"}:
        _check_request(text)
    else:
        _check_header(text.split(SEPARATOR))


def _check_header(rows: list[str]) -> None:
    expected = [read_row(row) for row in rows]
    fault: HeaderError | None = None
    try:
        mechanisms = parse_header(rows, NO_LIMITS)
    except HeaderError as error:
        fault = error
    if fault is not None:
        assert expected[fault.row] is None  # R3329-2.2-a: the plain reader of the ABNF agrees
        assert 0 <= fault.position <= len(rows[fault.row])
        assert receive(_ASKED, _answer(rows), _GIVEN).state is ClientState.FAILED
        return
    read = [(name, list(parameters)) for name, parameters in mechanisms]
    assert read == [mechanism for row in expected if row is not None for mechanism in row]
    printed = render_header(mechanisms)
    assert parse_header(printed, NO_LIMITS) == mechanisms
    assert find_difference(mechanisms, mechanisms) is None
    for policy in POLICIES.values():
        _check_cover(choose_mechanism(mechanisms, policy), len(mechanisms))
    _check_cover(predict_choice(mechanisms, _OWN), len(mechanisms))
    _check_client(rows)


def _check_cover(result: Selection | Prediction, count: int) -> None:
    """Every offer is chosen or refused, once, in order."""
    found = [refusal.offer_index for refusal in result.refusals]
    if isinstance(result, Prediction):
        taken = [] if result.offer_index is None else [result.offer_index]
    else:
        taken = [] if result.choice is None else [result.choice.offer_index]
    assert found == sorted(found)
    assert sorted(found + taken) == list(range(count))


def _answer(rows: list[str]) -> Answer:
    return Answer(494, tuple(("Security-Server", row) for row in rows))


def _check_client(rows: list[str]) -> None:
    after = receive(_ASKED, _answer(rows), _GIVEN)
    assert after.outcome is not None
    assert after.outcome.event in CLIENT_TRANSITIONS[ClientState.ASKED]
    if after.state is ClientState.STARTING and after.mechanism != "digest":
        mirrored = [v for n, v in headers_for(started(after), "INVITE") if n == "Security-Verify"]
        # R3329-2.3.1-l: what is mirrored is what was received
        assert parse_header(mirrored, NO_LIMITS) == after.listed


def _check_request(text: str) -> None:
    switches = (*(ord(c) for c in text[:3]), 0, 0, 0)[:3]
    lines = text[3:].split(SEPARATOR)
    headers = tuple((name, value) for name, _, value in (line.partition(":") for line in lines))
    method = _METHODS[switches[0] % len(_METHODS)]
    rules = _RULES[switches[1] % len(_RULES)]
    protection = tuple(Protection)[switches[2] % 3]
    mechanism = (None, "tls", "digest", "ipsec-3gpp")[switches[2] // 3 % 4]
    request = Request(method, headers, protection, mechanism)
    decision = decide_request(request, rules, _OWN)

    assert decision.status in {0, 403, 420, 421, 494, 502}
    if decision.status in {421, 494}:  # R3329-2.3.1-g: always this list, whatever was offered
        assert decision.headers == list_headers(_OWN, decision.status)
    if method in {"ACK", "CANCEL"}:
        assert decision.status == 0  # GAP-2
    if decision.action is ServerAction.ACCEPT:
        assert protection is not Protection.NONE  # R3329-2.3.1-n
        left = read_agreement_tags(decision.forwarded).demanded
        assert not (rules.is_proxy and left)  # R3329-2.3.1-p
    if decision.action is ServerAction.PASS and protection is Protection.NONE:
        assert rules.use is not Use.REQUIRED  # INTEROP-10
