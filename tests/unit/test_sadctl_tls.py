"""Verb tls, and what status says of credential sets: whose, until when, what is wrong."""

import json
from pathlib import Path

import pytest

from sad.ctl.__main__ import main
from sad.ctl.credentials import credential_lines, credential_rows
from sad.ctl.render import status_lines
from sad.ctl.shapes import Credential
from sad.ctl.sheet import Sheet
from sad.runtime.credentials import notices_of
from tests.support.api import serving_in_thread
from tests.support.credential_maker import DAY, NOW, key_pem
from tests.support.credential_world import World, edge
from tests.support.ctl_samples import status

SECOND = 1_000_000
AT = NOW.timestamp()


def shown(**changes: object) -> Credential:
    values: dict[str, object] = {
        "endpoint": "access",
        "state": "valid",
        "generation": "0123456789abcdef",
        "loadedAt": int((AT - 3600) * SECOND),
        "certificate": {
            "subject": "CN=edge",
            "issuer": "CN=root",
            "serial": "4d2",
            "names": ["sip.example.org"],
            "alternativeNames": ["URI:sip:sip.example.org", "DNS:sip.example.org"],
            "algorithm": "EC P-256",
            "notBefore": int((NOW - 10 * DAY).timestamp() * SECOND),
            "notAfter": int((NOW + 90 * DAY).timestamp() * SECOND),
            "validUntil": int((NOW + 90 * DAY).timestamp() * SECOND),
            "endsFirst": "the certificate",
        },
        "minimumVersion": "1.2",
        "ciphers": ["ECDHE-RSA-AES256-GCM-SHA384"],
        "clientAuthentication": "none",
        "refusals": [],
        "warnings": [],
    }
    return values | changes  # type: ignore[return-value]  # built by name


REFUSED = {
    "part": "key",
    "reason": "key-mismatch",
    "text": "the certificate is of another key",
    "rule": "RFC 5246 7.4.2",
    "hint": "take the key that the certificate is of",
}


def test_a_set_is_one_row_with_its_end_in_words() -> None:
    """What is wrong stands below it, with the way out."""
    rows = credential_rows({"credentials": [shown(refusals=[REFUSED])]}, Sheet(), AT)
    assert rows == [
        "access  valid    expires in 90 d  sip.example.org  by CN=root",
        "  refused: key: the certificate is of another key (key-mismatch, RFC 5246 7.4.2)",
        "    hint: take the key that the certificate is of",
    ]


def test_a_set_is_shown_whole() -> None:
    """Names, subject alternative names, issuer, dates, generation."""
    lines = credential_lines({"credentials": [shown()]}, Sheet(), AT)
    assert lines == [
        "TLS credential of: access",
        "  state: valid, loaded 1 hour ago",
        "  SIP domains: sip.example.org",
        "  subjectAltName: URI:sip:sip.example.org, DNS:sip.example.org",
        "  subject: CN=edge",
        "  issuer: CN=root",
        "  serial number: 4d2",
        "  public key: EC P-256",
        "  valid from: 2030-05-22 00:00:00 UTC",
        "  valid until: 2030-08-30 00:00:00 UTC (expires in 90 d)",
        "  generation: 0123456789abcdef",
        "  TLS: 1.2 or later",
        "  ciphers: ECDHE-RSA-AES256-GCM-SHA384",
        "  client authentication: none",
    ]


def test_an_issuer_that_ends_first_is_told() -> None:
    """The chain is as good as its first end."""
    certificate = dict(shown()["certificate"] or {})
    certificate |= {
        "validUntil": int((NOW - DAY).timestamp() * SECOND),
        "endsFirst": "its issuer CN=root",
    }
    lines = credential_lines(
        {"credentials": [shown(certificate=certificate, state="expired")]}, Sheet(), AT
    )
    first = "its issuer CN=root: 2030-05-31 00:00:00 UTC (expired 1 day ago)"
    assert f"  ends first: {first}" in lines


def test_without_any_it_is_said_where_they_come_from() -> None:
    """No empty answer."""
    assert credential_rows({"credentials": []}, Sheet(), AT) == [
        "no endpoint has settings of a TLS credential ([endpoint.tls])"
    ]


def test_status_shows_notices_with_their_way_out() -> None:
    """Beside the last problem: while it lasts."""
    notice = {
        "about": "TLS credential of access",
        "reason": "expires-soon",
        "text": "the certificate expires in 5 days",
        "hint": "renew it",
    }
    lines = status_lines(status(notices=[notice]), Sheet(), AT)
    at = lines.index("  TLS credential of access: the certificate expires in 5 days")
    assert lines[at + 1] == "  hint: renew it"


async def test_notices_tell_what_ends_and_what_was_refused(tmp_path: Path) -> None:
    """Within the days of the setting, and as long as the files hold a bad one."""
    world = World(tmp_path)
    await world.load()
    assert list(notices_of(world.keeper.views())) == []
    await world.load(edge(ends=NOW + 5 * DAY))
    assert [(n.reason, n.about) for n in notices_of(world.keeper.views())] == [
        ("expires-soon", "TLS credential of access")
    ]
    await world.load(edge(), key_pem("ec other"))
    told = [n.text for n in notices_of(world.keeper.views())]
    assert told[0].startswith("the new one is refused: key: the certificate is of another key")
    assert "expires in 5 days" in told[1]
    world.keeper.revoke("access")
    world.keeper.close()


async def test_the_verb_asks_a_daemon(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows, one whole, JSON, and what is not there; a key in none of it."""
    world = World(tmp_path)
    await world.load()
    secret = [line for line in world.read()[1].decode().splitlines() if "-" not in line]

    def sadctl(*argv: str) -> tuple[int, str]:
        code = main([*argv, "--socket", str(tmp_path / "s")])
        said = capsys.readouterr()
        return code, said.out + said.err

    with serving_in_thread(tmp_path / "s") as (backend, _):
        backend.keeper = world.keeper
        listed, whole = sadctl("tls"), sadctl("tls", "show", "access")
        document, other = sadctl("tls", "list", "--json"), sadctl("tls", "show", "other")
        unsaid, status = sadctl("tls", "show"), sadctl("status")
        revoked, again = sadctl("tls", "revoke", "access"), sadctl("tls", "revoke", "access")
    world.keeper.close()
    assert listed[0] == whole[0] == document[0] == status[0] == 0
    assert listed[1].startswith("access  valid")
    assert "subjectAltName: URI:sip:sip.example.org" in whole[1]
    (credential,) = json.loads(document[1])["credentials"]
    assert credential["certificate"]["names"] == ["sip.example.org"]
    assert other == (
        1,
        (
            'sadctl: endpoint "other": the settings name no TLS credential for it\n'
            "hint: write [endpoint.tls] below its [[endpoint]]\n"
        ),
    )
    assert unsaid[0] == 1
    assert revoked[0] == 0
    assert revoked[1].startswith("revoked: generation ")
    assert "replace the files" in revoked[1]
    assert again[0] == 1
    said_in_all = (listed, whole, document, other, unsaid, status, revoked, again)
    everything = "".join(said for _, said in said_in_all)
    assert not [line for line in secret if line in everything]
