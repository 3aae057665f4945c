"""One association whole, and the hints that its counters give."""

from typing import Any

import pytest

from sad.ctl import details, hints, mechanisms, render
from sad.ctl.shapes import FindOut
from sad.ctl.sheet import Sheet
from tests.support.ctl_samples import (
    CREATED,
    LONG_ADDRESS,
    LONG_IMPI,
    NOW,
    UNUSED,
    association,
    counter,
    ipsec3gpp,
)

TERMINAL = Sheet(columns=80)


def show(about: Any, *counters: Any, sheet: Sheet = TERMINAL) -> str:
    lines = details.details_lines({"association": about, "counters": list(counters)}, sheet, NOW)
    return "\n".join(lines) + "\n"


def test_an_association_shows_its_four_sas_as_ts_33_203_names_them() -> None:
    """SA1 to SA4 with direction, ports and SPIs of the table in TS 33.203 7.1 (T33-7.1-a)."""
    expected = """\
association: f3a91c0b7e21
  state: in use
  lifetime: expires in 9 min 12 s
  endpoint: access, role edge
  private identity: 001010000000001@ims.example
  public identities: sip:+15550001@ims.example, tel:+15550001
  mechanism: ipsec-3gpp
  integrity: hmac-sha-1-96
  encryption: null (integrity only, content readable)
  created: 1 minute, 5 seconds ago
  confirmed: 1 minute, 4 seconds ago

SA1: in
  spi: 0x00011172
  from: 10.10.0.2:6301 (UE client)
  to: 10.10.0.1:5064 (P-CSCF server)
  transfer: 3 packets, 1.46 KiB received
  last used: 3 seconds ago
  failures: 0 integrity, 0 replay

SA2: out
  spi: 0x00006438
  from: 10.10.0.1:5064 (P-CSCF server)
  to: 10.10.0.2:6301 (UE client)
  transfer: 0 packets, 0 B sent
  last used: never

SA3: out
  spi: 0x00006439
  from: 10.10.0.1:5068 (P-CSCF client)
  to: 10.10.0.2:6300 (UE server)
  transfer: 1 packet, 500 B sent
  last used: 3 seconds ago

SA4: in
  spi: 0x00011171
  from: 10.10.0.2:6300 (UE server)
  to: 10.10.0.1:5068 (P-CSCF client)
  transfer: 0 packets, 0 B received
  last used: never
  failures: 0 integrity, 0 replay
"""

    assert (
        show(
            association(),
            counter("SA1"),
            counter("SA2", "out", **UNUSED),
            counter("SA3", "out", packets=1, bytes=500),
            counter("SA4", **UNUSED),
        )
        == expected
    )


def test_the_directions_turn_with_the_role() -> None:
    """At a UE the same SAs run the other way; names, SPIs and ports stay (norms section 11)."""
    edge = mechanisms.sas_of(association(role="edge"))
    ue = mechanisms.sas_of(association(role="ue"))

    assert [sa.direction for sa in edge] == ["in", "out", "out", "in"]
    assert [sa.direction for sa in ue] == ["out", "in", "in", "out"]
    assert [sa._replace(direction="") for sa in edge] == [sa._replace(direction="") for sa in ue]


def test_details_fit_80_columns_with_the_longest_names() -> None:
    """IPv6 endpoints and identities stay whole and inside the terminal."""
    about = association(
        ipsec3gpp=ipsec3gpp(ueAddress=LONG_ADDRESS, pcscfAddress=LONG_ADDRESS),
        registration={
            "privateIdentity": LONG_IMPI,
            "publicIdentities": [f"sip:{LONG_IMPI}", "tel:+15550001"],
        },
    )
    shown = show(about, counter("SA1", packets=0, integrityFailures=7))

    assert max(map(len, shown.splitlines())) <= 80
    assert f"[{LONG_ADDRESS}]:6301" in shown
    assert LONG_IMPI in shown


def test_keys_that_differ_are_named_where_they_show() -> None:
    """ESP arrives and nothing decrypts: the SA says so itself (K12, T33-7.3.1.1)."""
    shown = show(
        association(state="temporary", confirmedAt=0, secondsLeft=180),
        counter("SA1", **(UNUSED | {"integrityFailures": 5})),
    )

    assert "  confirmed: not yet\n" in shown
    assert "  failures: 5 integrity, 0 replay\n" in shown
    assert "  hint: ESP arrives, integrity fails: the keys differ\n" in shown


def test_an_association_without_ipsec_shows_what_it_has() -> None:
    """Other mechanisms have no SAs of TS 33.203; counters of any name are shown."""
    shown = show(association(mechanism="ipsec-man", ipsec3gpp=None), counter("child", "out"))

    assert "SA1" not in shown
    assert "integrity:" not in shown
    assert shown.endswith(
        "child: out\n  spi: 0x00000001\n  transfer: 3 packets, 1.46 KiB sent\n"
        "  last used: 3 seconds ago\n"
    )


def test_a_policy_of_one_protocol_says_so() -> None:
    """Of strongSwan there are one for UDP and one for TCP, alike but for that."""
    policy = {
        "direction": "in",
        "action": "allow",
        "source": "10.10.0.2:5100",
        "destination": "10.10.0.1:5064",
        "priority": 366_847,
        "reqid": 1,
        "ours": False,
    }
    policies = [{**policy, "protocol": protocol} for protocol in (6, 17, 132, None)]
    reply: Any = {"association": association(), "counters": [], "policies": [*policies, policy]}

    shown = " ".join(" ".join(details.details_lines(reply, TERMINAL, NOW)).split())

    for only in ("TCP only", "UDP only", "protocol 132 only"):
        assert shown.count(f"({only}, priority 366847, reqid 1, not of sad)") == 1
    assert shown.count("(priority 366847, reqid 1, not of sad)") == 2


def test_both_sas_of_a_child_are_shown() -> None:
    """The name is that of the pair; neither direction hides the other."""
    shown = show(
        association(mechanism="ipsec-ike", ipsec3gpp=None),
        counter("INSTALLED", "in"),
        counter("INSTALLED", "out"),
    )

    assert "INSTALLED: in\n" in shown
    assert "INSTALLED: out\n" in shown


def test_what_find_found_shows_without_counters() -> None:
    """Find has no counters, and none are invented."""
    found = association()
    shown = "\n".join(
        details.found_lines({"association": found, "outbound": found}, TERMINAL, NOW)
    )

    assert "SA4: in" in shown
    assert "transfer" not in shown
    assert "hint" not in shown
    assert "sent on" not in shown


def test_what_find_found_names_the_set_that_carries_what_is_sent() -> None:
    """T24-P-9: a new set does not carry it before its first request."""
    reply: FindOut = {"association": association(), "outbound": association(id="0123456789ab")}

    assert details.found_lines(reply, TERMINAL, NOW)[-1] == "sent on: 0123456789ab"


def test_an_ended_association_says_why_and_gives_no_advice() -> None:
    """It has no time left and needs none."""
    shown = show(association(state="ended", endReason="released"), counter("SA1"))

    assert "  ended: released\n" in shown
    assert "lifetime" not in shown
    assert "hint" not in shown


def test_an_identity_from_the_network_cannot_forge_lines() -> None:
    """A line break or an escape in an identity is shown, not obeyed."""
    registration = {"privateIdentity": "a\n  state: in use\x1b[2J", "publicIdentities": []}
    shown = show(association(registration=registration), sheet=Sheet())

    assert "  private identity: a\\n  state: in use\\x1b[2J\n" in shown


@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({}, None),
        ({"packets": 0, "integrityFailures": 1}, "the keys differ"),
        ({"packets": 9, "integrityFailures": 1}, "some packets fail integrity"),
        ({"replayFailures": 2}, "twice or too late"),
        ({"direction": "out", "integrityFailures": 1}, None),
    ],
)
def test_each_failure_has_its_meaning(changes: dict[str, Any], hint: str | None) -> None:
    """Counters are explained only where they count something; senders see no failures."""
    found = hints.sa_hint(counter("SA1", **({"direction": "in"} | changes)))

    assert found is None if hint is None else found is not None and hint in found


def hints_of(state: str, received: int, sent: int, *, age: int = 65, failed: int = 0) -> str:
    about = association(state=state, createdAt=CREATED + (65 - age) * 1_000_000, secondsLeft=175)
    counters = [
        counter("SA1", packets=received, integrityFailures=failed),
        counter("SA3", "out", packets=sent),
    ]
    return " / ".join(hints.association_hints(about, counters, NOW))


def test_an_answered_but_unconfirmed_agreement_warns_of_its_end() -> None:
    """Calls that stop after minutes come from a Confirm that never was (K13)."""
    assert "nobody has confirmed: in 2 min 55 s it ends" in hints_of("temporary", 4, 4)


def test_a_silent_new_set_gets_patience_first() -> None:
    """Ten seconds without ESP are a sign, one is none; failures have their own hint."""
    assert "no ESP has come" in hints_of("temporary", 0, 0)
    assert hints_of("temporary", 0, 0, age=3) == ""
    assert hints_of("temporary", 0, 0, failed=2) == ""


def test_one_way_traffic_is_named_in_both_directions() -> None:
    """Blocked ESP on the way, and a SIP server that sends from another port (K11, K12)."""
    assert "no ESP comes back" in hints_of("inUse", 0, 5)
    assert "does the SIP server send from the protected ports" in hints_of("established", 5, 0)
    assert hints_of("inUse", 5, 5) == ""
    assert hints_of("inUse", 0, 0) == ""


def test_every_mechanism_shows_what_it_is_made_of() -> None:
    """One page for all: keys by name, connections, CHILD_SAs."""
    pair = {
        "localAddress": "10.10.0.1",
        "peerAddress": "10.10.0.2",
        "spiIn": 256,
        "spiOut": 257,
        "localPorts": [5064],
        "peerPorts": [6300],
        "integrityAlgorithm": "hmac-sha-1-96",
        "encryptionAlgorithm": "null",
        "keySet": "trunk-1",
        "activation": "always",
    }
    tls = {
        "localAddress": "2001:db8::1",
        "localPort": 5061,
        "peerAddress": "2001:db8::2",
        "peerPort": 40000,
        "attached": True,
        "identity": "sip:ims.example",
        "credential": None,
    }
    ike = pair | {"connection": "ue", "child": "sip"}

    def shown(**mechanism: Any) -> str:
        reply: Any = {"association": association(ipsec3gpp=None, **mechanism), "counters": []}
        return "\n".join(details.details_lines(reply, Sheet(), NOW))

    man = shown(mechanism="ipsec-man", ipsecMan=pair)
    assert "  key set: trunk-1\n" in man
    assert "inbound SA: in\n  spi: 0x00000100\n  from: 10.10.0.2:6300\n  to: 10.10.0.1:5064" in man
    connection = shown(mechanism="tls", tls=tls)
    assert "  peer: [2001:db8::2]:40000\n" in connection
    assert "  peer's identity: sip:ims.example\n  credential: of the SIP server" in connection
    assert "  CHILD_SA: sip of connection ue" in shown(mechanism="ipsec-ike", ipsecIke=ike)
    assert render.peer_address(association(ipsec3gpp=None, tls=tls)) == "2001:db8::2"
