"""Settings of ipsec-ike: no weak proposals, no secrets in them, no half of anything."""

from typing import Any

import pytest
from pydantic import ValidationError

from sad.config.endpoint import EndpointSettings
from sad.config.ike import EndpointIkeSettings, IkePeerSettings, IkeSettings

PEER = {
    "name": "alice",
    "identity": "alice@example.org",
    "users": ["alice@example.org"],
    "secret": "/etc/sad/ike/alice",
}
ENDPOINT: dict[str, Any] = {
    "name": "access",
    "addresses": ["192.0.2.1"],
    "server_port": 5064,
    "client_ports": "5068-5071",
    "users": [1000],
    "profile": "rfc3329",
    "mechanisms": ["ipsec-ike;q=0.4", "digest;q=0.2;d-alg=MD5;d-qop=auth"],
}


def ike(**changes: Any) -> dict[str, Any]:
    return {"identity": "edge.example.org", "peer": [PEER]} | changes


def words(model: type[Any], value: object) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(value)
    return str(caught.value)


def test_ike_settings_become_the_daemons_values() -> None:
    profile = EndpointIkeSettings.model_validate(ike()).value()
    peer = profile.peer_of("alice@example.org")
    assert peer is not None
    assert (peer.name, peer.auth, peer.secret) == ("alice", "psk", "/etc/sad/ike/alice")
    assert profile.peer_named("alice") is peer
    assert profile.peer_of("bob@example.org") is None
    assert IkeSettings().value().socket_path == "/run/charon.vici"


@pytest.mark.parametrize(
    "proposal",
    [
        "3des-sha256-x25519", "aes128-md5-x25519", "aes128-sha1-x25519", "null-sha256-x25519",
        "aes128-sha256-modp1024", "aes128gcm16-prfsha1-x25519", "default", "des-sha256-modp2048",
        "aes128-sha256-modp1536", "blowfish128-sha256-x25519",
    ],
)  # fmt: skip
def test_ike_weak_proposals_are_refused(proposal: str) -> None:
    """R3329-2.4-ipsec-a: RFC 8221 and RFC 8247 say what is enough today."""
    for name in ("ike_proposals", "esp_proposals"):
        assert "too weak" in words(EndpointIkeSettings, ike(**{name: [proposal]}))


def test_ike_proposals_without_integrity_or_group_are_refused() -> None:
    assert "no integrity" in words(EndpointIkeSettings, ike(esp_proposals=["aes128"]))
    assert "no group" in words(EndpointIkeSettings, ike(ike_proposals=["aes128gcm16-prfsha256"]))
    good = ike(esp_proposals=["AES128GCM16-x25519"], ike_proposals=["aes256-sha512-ecp521"])
    assert EndpointIkeSettings.model_validate(good).value().esp_proposals == (
        "aes128gcm16-x25519",
    )


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"secret": None}, "psk needs a secret"),
        ({"auth": "eap-md5", "secret": None}, "eap-md5 needs a secret"),
        ({"auth": "certificate"}, "needs this node's certificate"),
        ({"auth": "eap-mschapv2"}, "needs this node's certificate"),
        ({"auth": "password"}, "auth"),
        ({"secret": "ike/alice"}, "neither an absolute path"),
        ({"users": []}, "users"),
        ({"ports": [0]}, "ports"),
    ],
)
def test_ike_peers_that_could_never_be_are_refused(changes: dict[str, Any], told: str) -> None:
    assert told in words(EndpointIkeSettings, ike(peer=[PEER | changes]))


def test_ike_peers_do_not_share_names_or_users() -> None:
    other = PEER | {"name": "other"}
    assert "another peer's" in words(EndpointIkeSettings, ike(peer=[PEER, other]))
    assert "another peer" in words(
        EndpointIkeSettings, ike(peer=[PEER, PEER | {"users": ["b@example.org"]}])
    )


def test_ike_certificates_need_authorities() -> None:
    by_certificate = PEER | {"auth": "certificate", "secret": None}
    files = {"certificate": "/c.pem", "private_key": "key"}
    assert "authorities" in words(EndpointIkeSettings, ike(peer=[by_certificate], **files))
    good = ike(peer=[by_certificate], authorities=["/ca.pem"], **files)
    assert EndpointIkeSettings.model_validate(good).value().authorities == ("/ca.pem",)


def test_ike_list_and_settings_belong_together() -> None:
    """R3329-2.4-ipsec-b: what stands in the list can be kept."""
    EndpointSettings.model_validate(ENDPOINT | {"ike": ike()})
    assert "no settings of IKE" in words(EndpointSettings, ENDPOINT)
    without = ENDPOINT | {"mechanisms": ENDPOINT["mechanisms"][1:], "ike": ike()}
    assert "is not listed" in words(EndpointSettings, without)


def test_ike_secrets_are_not_in_the_settings() -> None:
    """There is no setting that takes one: only where it is."""
    assert set(IkePeerSettings.model_fields) == {
        "name", "identity", "users", "auth", "secret", "ports",
    }  # fmt: skip
    assert "extra" in words(IkePeerSettings, PEER | {"psk": "hunter2"}).lower()
