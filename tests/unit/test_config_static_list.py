"""Settings of profile rfc3329: a list that could not be kept is refused at start."""

import os
from typing import Any

import pytest
from pydantic import ValidationError

from sad.config import EndpointSettings, Settings, to_endpoints
from sad.config.static_list import ASSURANCES, DRIVERS, faults_of
from sad.model.endpoint import Profile
from sip_hooks.secagree import parse_header
from sip_hooks.secagree.mechanism import MECHANISMS
from sip_hooks.secagree.strength import find_weaknesses
from tests.unit.test_config_check import GOOD, check, resolve

DIGEST = "digest;q=0.2;d-alg=MD5;d-qop=auth"
RFC3329 = GOOD + 'profile = "rfc3329"\n'


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("SAD_"):
            monkeypatch.delenv(name)


def settings(**changes: Any) -> EndpointSettings:
    values = {
        "name": "edge",
        "addresses": ["192.0.2.1"],
        "server_port": 5064,
        "client_ports": "5068-5071",
        "users": [998],
        "profile": "rfc3329",
        "mechanisms": [DIGEST],
    }
    return EndpointSettings.model_validate(values | changes)


def test_an_endpoint_carries_its_list_to_the_daemon() -> None:
    """R3329-2.1-c: one text, written once, is what every user agent gets."""
    given = Settings(endpoint=(settings(security="optional"),))

    (endpoint,) = to_endpoints(given, resolve)

    assert endpoint.profile is Profile.RFC3329
    assert endpoint.security_server == DIGEST
    assert not endpoint.security_required


def test_tls_stands_in_a_list_by_itself_and_beside_digest() -> None:
    """R3329-5-a, UPD-8996: TLS 1.2 and later protects Security-Verify, so it weakens no list."""
    for listed in (["tls"], [DIGEST, "tls;q=0.3"]):
        (endpoint,) = to_endpoints(Settings(endpoint=(settings(mechanisms=listed),)), resolve)

        assert endpoint.security_server == ", ".join(listed)
    assert find_weaknesses(parse_header("tls"), ASSURANCES._replace(tls_version=(1, 1)))


def test_the_profile_is_ims_and_required_unless_said_otherwise() -> None:
    """GAP-1: what stood before there were profiles goes on as it was."""
    (endpoint,) = to_endpoints(
        Settings(endpoint=(settings(profile="ims", mechanisms=[]),)), resolve
    )

    assert (endpoint.profile, endpoint.security_required) == (Profile.IMS, True)
    assert endpoint.security_server == ""


@pytest.mark.parametrize(
    ("elements", "expected"),
    [
        (["digest;q=0.2"], "an old request can be replayed (R3329-5-a); set d-qop"),
        (["digest;d-qop=auth;d-alg=SHA-256"], "(GAP-4); use d-alg=MD5"),
        (
            ["digest;q=0.5;d-qop=auth", "digest;q=0.50;d-qop=auth-int"],
            "two mechanisms have q 0.5 (R3329-2.2-g); give each mechanism a q of its own",
        ),
        (["digest;q=0.1;d-qop=auth", "digest;d-qop=auth-int"], "has no q (INTEROP-8)"),
        (["digest;q=0.1;d-qop=auth", "DIGEST;q=0.2;d-qop=auth-int"], "digest is listed twice"),
        (["digest;q=2;d-qop=auth"], "position 7: q must be 0 to 1"),
        (["digest;d-qop=auth, tls"], "2 mechanisms in one element"),
        (['digest;d-qop=auth;d-ver="' + "a" * 32 + '"'], "leave d-ver out of the list"),
        (["ipsec-3gpp;alg=hmac-sha-1-96"], 'write profile = "ims"'),
        (["tls", "digest;q=0.2;d-qop=auth"], "has no q (INTEROP-8); give each mechanism a q"),
        (
            ["tls;q=0.2", "digest;q=0.200;d-qop=auth"],
            "two mechanisms have q 0.2 (R3329-2.2-g)",
        ),
        (["tls;q=0.2", "digest;q=0.1"], "an old request can be replayed (R3329-5-a); set d-qop"),
        (["tls;q=0.2", "TLS;q=0.1"], "tls is listed twice"),
        (["carrier-pigeon"], "has no driver for a static list in this version; list digest"),
    ],
)
def test_a_list_that_cannot_be_kept_is_refused_with_the_way_out(
    elements: list[str], expected: str
) -> None:
    """R3329-5-a, R3329-2.2-g, GAP-4, GAP-5: what is wrong, by which rule, the way out."""
    (fault,) = faults_of(elements)

    assert expected in f"{fault.reason}; {fault.hint}"
    with pytest.raises(ValidationError):
        settings(mechanisms=elements)


@pytest.mark.parametrize("name", sorted(MECHANISMS - DRIVERS))
def test_a_mechanism_without_a_driver_is_unavailable(name: str) -> None:
    """R3329-2.4-ipsec-b: nothing is listed that nobody could start."""
    (fault,) = faults_of([f"{name};q=0.1"])

    assert fault.reason == f"{name} has no driver for a static list in this version"


def test_check_config_shows_list_and_problems(tmp_path: Any) -> None:
    """R3329-3-a, R3329-5-a: an operator sees the policy, and each problem at its line."""
    good = check(tmp_path, RFC3329 + f'mechanisms = ["{DIGEST}"]\nsecurity = "optional"\n')
    assert good[0] == 0
    assert f"  profile rfc3329, security optional: {DIGEST}" in good[1]
    assert "warning: user agents that do not agree are served in clear" in good[1]

    for text, line, reason in (
        (RFC3329, 1, "profile rfc3329 has no mechanism to offer; list at least one"),
        (RFC3329 + 'mechanisms = [\n"digest;q=1"]\n', 9, "replayed (R3329-5-a); set d-qop"),
        (
            GOOD + f'mechanisms = ["{DIGEST}"]\n',
            7,
            "profile ims knows ipsec-3gpp and tls by their bare",
        ),
        (GOOD + 'security = "optional"\n', 7, "profile ims serves nobody without protection; wr"),
    ):
        status, _, stderr = check(tmp_path, text)
        assert status == 78
        assert stderr.startswith(f"sad.toml:{line}: endpoint[0].")
        assert reason in stderr
