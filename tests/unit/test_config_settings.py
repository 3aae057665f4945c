"""What settings may be: values, and rules between them."""

from typing import Any

import pytest
from pydantic import ValidationError

from sad.config import EndpointSettings, Settings

EDGE: dict[str, Any] = {
    "name": "edge",
    "addresses": ["192.0.2.1", "2001:db8::1"],
    "server_port": 5064,
    "client_ports": "5068-5071",
    "users": ["kamailio", 998],
}


def refusal(model: type[Any], values: dict[str, Any]) -> str:
    with pytest.raises(ValidationError) as caught:
        model.model_validate(values)
    return "\n".join(
        f"{'.'.join(map(str, error['loc']))}: {error['msg']}" for error in caught.value.errors()
    )


def edge(**changes: Any) -> EndpointSettings:
    return EndpointSettings.model_validate(EDGE | changes)


def edge_refusal(**changes: Any) -> str:
    return refusal(EndpointSettings, EDGE | changes)


def test_defaults_are_those_of_the_standards() -> None:
    """reg-await-auth 240 s, T1 2 s toward the UE, six SAs per direction, anti-replay on.

    T24 table 7.7.1 and GAP-8, GAP-9; T33-7.1-p3; T33-7.1-j.
    """
    settings = Settings()

    assert settings.lifetimes.reg_await_auth_seconds == 240
    assert settings.lifetimes.registration_margin_seconds == 30
    assert settings.lifetimes.retiring_seconds == 128
    assert settings.limits.max_sets_per_registration == 3
    assert settings.kernel.replay_window == 128
    assert settings.stop == "keep"
    assert settings.ownership_tag
    assert settings.endpoint == ()


def test_nat_traversal_says_what_may_be_behind_a_nat() -> None:
    """T33-M-c: a user agent's word is policies in the kernel, so networks are listed by hand."""
    assert "nat_networks" in edge_refusal(nat_traversal=True)
    assert "is no network" in edge_refusal(nat_traversal=True, nat_networks=["192.168.0.1/16"])
    behind = {"nat_traversal": True, "nat_networks": ["192.168.0.0/16"]}
    assert "protected port" in edge_refusal(**behind, nat_port=5064)
    assert "is no UDP port" in edge_refusal(**behind, nat_port=0)
    assert "profile ims" in edge_refusal(
        **behind, profile="rfc3329", mechanisms=["digest;d-qop=auth"]
    )
    assert edge(**behind).nat_port == 4500  # T33-M-b


def test_settings_cannot_be_changed() -> None:
    """A loaded value stays what was checked."""
    with pytest.raises(ValidationError):
        Settings().log_level = "debug"


@pytest.mark.parametrize("key", ["_env_file", "endpoints", "model_config"])
def test_unknown_keys_are_errors(key: str) -> None:
    """A misspelt key is never silently without effect."""
    assert key in refusal(Settings, {key: 1})
    assert "not permitted" in refusal(Settings, {key: 1})
    assert key in refusal(Settings, {"limits": {key: 1}})
    assert key in edge_refusal(**{key: 1})


@pytest.mark.parametrize(
    ("client_ports", "expanded"),
    [
        ("5068-5071", (5068, 5069, 5070, 5071)),
        ([5071, 5070, 5069, 5068], (5068, 5069, 5070, 5071)),
        ("6000-6007", tuple(range(6000, 6008))),
        ("6002, 6003", (6002, 6003)),
    ],
)
def test_client_ports_are_an_aligned_block(
    client_ports: object, expanded: tuple[int, ...]
) -> None:
    """2, 4 or 8 ports whose first is a multiple of their number, written as range or list."""
    assert edge(client_ports=client_ports).client_ports == expanded


@pytest.mark.parametrize(
    "client_ports",
    [
        "5067-5070",  # not aligned
        "5068-5070",  # three
        "6000-6015",  # sixteen
        "6000",
        [5068, 5068],
        [5068, 5070],
        [],
        "",
        "5068-",
        "5071-5068",
        "65528-65536",
    ],
)
def test_client_ports_that_are_no_block_are_refused(client_ports: object) -> None:
    """One masked selector must cover the block, so its size and place are powers of two."""
    assert "client_ports" in edge_refusal(client_ports=client_ports)


@pytest.mark.parametrize("port", [5060, 5061])
def test_protected_ports_differ_from_those_of_unprotected_sip(port: int) -> None:
    """T33-7.1-e: 5060 and 5061 are no protected ports, alone or in a block."""
    assert "TS 33.203 7.1" in edge_refusal(server_port=port)
    assert "TS 33.203 7.1" in edge_refusal(client_ports="5060-5063")


@pytest.mark.parametrize("port", [0, 1023, 65536, -1, True, "x", 5064.5, None])
def test_ports_out_of_range_are_refused(port: object) -> None:
    """A protected port is 1024 to 65535."""
    assert "server_port" in edge_refusal(server_port=port)


def test_server_port_is_no_client_port() -> None:
    """T33-7.1-f: client and server port of one side differ."""
    assert "also a client port" in edge_refusal(server_port=5070)


@pytest.mark.parametrize(
    ("address", "word"),
    [
        ("127.0.0.1", "loopback"),
        ("::1", "loopback"),
        ("0.0.0.0", "unspecified"),
        ("::", "unspecified"),
        ("224.0.0.1", "multicast"),
        ("ff02::1", "multicast"),
        ("169.254.1.1", "link-local"),
        ("fe80::1", "link-local"),
        ("fe80::1%eth0", "link-local"),
        ("255.255.255.255", "broadcast"),
        ("::ffff:192.0.2.1", "IPv4-mapped"),
        ("edge.example", "no IP address"),
        ("192.0.2.0/24", "no IP address"),
    ],
)
def test_addresses_that_no_user_agent_can_reach_are_refused(address: str, word: str) -> None:
    """An endpoint's address is a unicast address of the node, and the refusal says why not."""
    assert word in edge_refusal(addresses=[address])


def test_addresses_become_canonical() -> None:
    """Two spellings of one address are one address."""
    assert edge(addresses="2001:DB8:0::1").addresses == ("2001:db8::1",)


@pytest.mark.parametrize("addresses", [[], ["192.0.2.1", "192.0.2.2"], ["2001:db8::1"] * 2])
def test_an_endpoint_has_at_most_one_address_of_each_version(addresses: list[str]) -> None:
    """Further addresses are further endpoints."""
    assert "addresses" in edge_refusal(addresses=addresses)


@pytest.mark.parametrize("name", ["", "Edge", "a_b", "-a", "a-", "a b", 'a"b', "x" * 33, "é"])
def test_endpoint_names_are_plain(name: str) -> None:
    """A name goes into logs, packet-filter comments and commands as it is."""
    assert "name" in edge_refusal(name=name)


@pytest.mark.parametrize("pair", ["hmac-md5-96/null", "hmac-sha-1-96/des-ede3-cbc"])
def test_withdrawn_algorithms_need_two_explicit_words(pair: str) -> None:
    """IPS-6, T33-H-b: withdrawn algorithms are off unless listed and accepted."""
    assert "accept_withdrawn_algorithms" in edge_refusal(algorithms=[pair])
    accepted = edge(algorithms=[pair], accept_withdrawn_algorithms=True)
    assert accepted.algorithms == (pair,)
    assert "md5" not in str(edge().algorithms)


@pytest.mark.parametrize("pair", ["hmac-sha-256-128/aes-cbc", "hmac-sha-256-128/null"])
def test_extensions_need_two_explicit_words(pair: str) -> None:
    """T33-H-a: what is of no 3GPP release is off unless listed and accepted."""
    assert "accept_extension_algorithms" in edge_refusal(algorithms=[pair])
    accepted = edge(algorithms=[pair], accept_extension_algorithms=True)
    assert accepted.algorithms == (pair,)


@pytest.mark.parametrize("pair", ["null/aes-gcm", "aes-gmac/null"])
def test_the_strong_algorithms_of_annex_h_need_one_word(pair: str) -> None:
    """T33-I-b: they are not among the default ones, and listing them is enough."""
    assert edge(algorithms=[pair]).algorithms == (pair,)
    assert pair not in edge().algorithms


@pytest.mark.parametrize(
    "pair",
    ["null/null", "null/aes-cbc", "hmac-sha-1-96/aes-gcm", "aes-gmac/aes-cbc", "aes-gmac/aes-gcm"],
)
def test_illegal_pairs_are_refused_with_the_rule(pair: str) -> None:
    """T33-H-c: what must not stand together, by the reason and not as unknown."""
    refusal = edge_refusal(algorithms=[pair])
    assert "must not be used together" in refusal
    assert "alg null goes with aes-gcm only" in refusal


@pytest.mark.parametrize(
    "pair", ["null", "hmac-sha-1-96", "hmac-sha-1-96/aes-cbc-256", "x/y", "", "a/b/c"]
)
def test_unknown_algorithms_are_refused(pair: str) -> None:
    """Only pairs that this version can key; Annex H has no other length of AES."""
    assert "algorithms" in edge_refusal(algorithms=[pair])


@pytest.mark.parametrize("spi_range", [[255, 5000], [5000, 5000], [6000, 5000], [1, 2**32], [256]])
def test_spi_ranges_hold_allocatable_spis(spi_range: list[int]) -> None:
    """IPS-1: 0 to 255 are never allocated; a range is ordered and fits 32 bits."""
    assert "spi_range" in edge_refusal(spi_range=spi_range)


@pytest.mark.parametrize("users", [[], [""], [-1], [True], [1.5], ["a b"], ["root", "root"]])
def test_users_are_names_or_numbers(users: list[object]) -> None:
    """Somebody is named, nobody twice, nothing that is no account."""
    assert "users" in edge_refusal(users=users)


def test_roles_are_edge_unless_said() -> None:
    """The role ue is off by default (design section 5)."""
    assert edge().roles == ("edge",)
    assert edge(roles=["edge", "ue"]).roles == ("edge", "ue")
    assert "roles" in edge_refusal(roles=["pcscf"])


@pytest.mark.parametrize("window", [0, 32, 63, 65, 100, 4128])
def test_replay_windows_are_multiples_of_32_from_64(window: int) -> None:
    """T33-7.1-j: anti-replay is on, with a window the kernel can hold."""
    assert "replay_window" in refusal(Settings, {"kernel": {"replay_window": window}})


@pytest.mark.parametrize(
    ("values", "blamed"),
    [
        ({"kernel": {"policy_priority": 3_000_000_000}}, "block_clear_priority"),
        ({"kernel": {"block_clear_priority": 4_000_000_000}}, "block_endpoint_priority"),
        ({"kernel": {"reqid_range": [0, 5]}}, "reqid_range"),
        ({"kernel": {"reqid_range": [6, 5]}}, "reqid_range"),
        ({"limits": {"max_connections": 5}}, "max_connections_per_uid"),
        ({"limits": {"max_sets_per_registration": 4}}, "max_sets_per_registration"),
        ({"limits": {"max_temporary_sets": 255}}, "max_temporary_sets_per_address"),
        ({"limits": {"offers_per_second": 49}}, "offers_per_second_per_address"),
        ({"limits": {"reserved_percent": 100}}, "reserved_percent"),
        ({"limits": {"max_connections": True}}, "max_connections"),
        ({"ownership_tag": 0}, "ownership_tag"),
        ({"ownership_tag": 2**32}, "ownership_tag"),
        ({"socket_path": "sad.sock"}, "socket_path"),
        ({"socket_mode": 660}, "socket_mode"),
        ({"socket_mode": 0o1660}, "socket_mode"),
        ({"socket_mode": 0o060}, "socket_mode"),
        ({"socket_mode": "rw"}, "socket_mode"),
        ({"stop": "flush"}, "stop"),
        ({"log_level": "loud"}, "log_level"),
        ({"journal_on_corrupt": "ignore"}, "journal_on_corrupt"),
        ({"lifetimes": {"t1_milliseconds": 0}}, "t1_milliseconds"),
        ({"status_groups": ["no group!"]}, "status_groups"),
    ],
)
def test_values_that_break_a_rule_are_refused(values: dict[str, Any], blamed: str) -> None:
    """Each rule names the setting to blame."""
    assert blamed in refusal(Settings, values)


@pytest.mark.parametrize("mode", [0o660, "660", "0660", "0o660"])
def test_socket_modes_are_octal(mode: object) -> None:
    """TOML has octal numbers; variables and options give octal digits."""
    assert Settings.model_validate({"socket_mode": mode}).socket_mode == 0o660


def test_endpoints_have_names_of_their_own() -> None:
    """Callers name endpoints."""
    other = EDGE | {"addresses": ["192.0.2.9"]}

    assert 'another endpoint "edge"' in refusal(Settings, {"endpoint": [EDGE, other]})


def test_an_address_and_port_belong_to_one_endpoint() -> None:
    """Two owners of one port would remove each other's policies; other addresses do not matter."""
    other = EDGE | {"name": "other", "addresses": ["192.0.2.1"], "server_port": 5072}
    away = EDGE | {"name": "away", "addresses": ["192.0.2.2"]}

    text = refusal(Settings, {"endpoint": [EDGE, other]})
    assert '192.0.2.1 port 5068, 5069, 5070, 5071 belongs to endpoint "edge"' in text
    assert len(Settings.model_validate({"endpoint": [EDGE, away]}).endpoint) == 2
    moved = other | {"client_ports": "6000-6003"}
    assert len(Settings.model_validate({"endpoint": [EDGE, moved]}).endpoint) == 2
