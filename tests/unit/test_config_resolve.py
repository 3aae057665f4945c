"""From settings to the values of the daemon's inside."""

import os

import pytest

from sad.config import (
    ConfigurationError,
    Settings,
    system_group,
    system_user,
    to_endpoints,
    to_gids,
    to_layout,
    to_lifetimes,
    to_limits,
)
from sad.model.endpoint import Role
from sad.model.rules import Layout, Lifetimes, Limits

SETTINGS = Settings.model_validate(
    {
        "endpoint": [
            {
                "name": "edge",
                "addresses": ["192.0.2.1"],
                "server_port": 5064,
                "client_ports": "5068-5071",
                "users": ["kamailio", 7],
                "roles": ["ue", "edge"],
                "accept_sip_port": True,
                "identity_at_one_address": False,
            }
        ]
    }
)


def test_endpoints_carry_uids_and_pairs() -> None:
    """Names become uids, texts become values; nothing is lost on the way."""
    (endpoint,) = to_endpoints(SETTINGS, {"kamailio": 998}.__getitem__)

    assert endpoint.name == "edge"
    assert endpoint.addresses == ("192.0.2.1",)
    assert endpoint.ports == {5064, 5068, 5069, 5070, 5071}
    assert endpoint.uids == {998, 7}
    assert endpoint.roles == {Role.EDGE, Role.UE}
    assert endpoint.algorithms == (("hmac-sha-1-96", "aes-cbc"), ("hmac-sha-1-96", "null"))
    assert endpoint.spi_range == (65536, 2**31 - 1)
    assert endpoint.accept_sip_port
    assert not endpoint.accept_reserved_spi
    assert not endpoint.identity_at_one_address


def test_an_unknown_user_is_refused_with_the_way_out() -> None:
    """The error names the setting and says what to do."""
    with pytest.raises(ConfigurationError) as caught:
        to_endpoints(SETTINGS, {"opensips": 5}.__getitem__)

    assert 'endpoint[0].users[0]: there is no user "kamailio"; install' in str(caught.value)


def test_system_lookups_know_this_system() -> None:
    """The default lookups ask the system, and do not guess."""
    assert system_user("root") == system_group("root") == 0
    with pytest.raises(KeyError):
        system_user("no-such-user-here")
    with pytest.raises(KeyError):
        system_group("no-such-group-here")
    assert to_gids(["root", os.getgid()]) == {0, os.getgid()}


def test_default_rules_are_the_defaults_of_the_model() -> None:
    """Tests of the pure parts run with the values that the daemon has by default."""
    settings = Settings()

    assert to_lifetimes(settings) == Lifetimes()
    assert to_layout(settings) == Layout(owner=settings.ownership_tag)
    assert to_limits(settings) == Limits()


def test_rules_follow_the_settings() -> None:
    """Milliseconds of T1 become seconds of retiring: 64 times (GAP-8)."""
    settings = Settings.model_validate(
        {
            "lifetimes": {"t1_milliseconds": 500, "backstop_seconds": 3},
            "kernel": {"replay_window": 4096},
            "limits": {
                "max_associations": 500,
                "max_sets_per_registration": 2,
                "max_temporary_sets": 40,
                "max_temporary_sets_per_address": 30,
                "max_temporary_sets_per_identity": 20,
                "offers_per_second": 10,
                "offers_per_second_per_address": 5,
                "reserved_percent": 7,
            },
        }
    )

    assert to_lifetimes(settings).retiring == 32
    assert to_lifetimes(settings).backstop == 3
    assert to_layout(settings).replay_window == 4096
    assert to_limits(settings) == Limits(
        max_associations=500,
        max_sets_per_registration=2,
        max_temporary_sets=40,
        max_temporary_sets_per_address=30,
        max_temporary_sets_per_identity=20,
        offers_per_second=10,
        offers_per_second_per_address=5,
        reserved_percent=7,
    )
    assert to_limits(settings).reserved == 35
