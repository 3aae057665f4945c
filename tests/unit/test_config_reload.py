"""What a reload takes over of changed settings, and what waits for the next start."""

from typing import Any

import pytest

from sad.config.reload import RESTART_ONLY, reloaded
from sad.config.settings import Settings

ENDPOINT = {
    "name": "edge",
    "addresses": ["192.0.2.1"],
    "server_port": 5064,
    "client_ports": "5068-5071",
    "users": [7],
}
CHANGED: dict[str, Any] = {
    "socket_path": "/run/other.sock",
    "socket_mode": 0o600,
    "socket_group": "other",
    "state_directory": "/run/other",
    "ownership_tag": 7,
    "on_kernel_loss": "rebuild",
    "kernel.replay_window": 64,
    "kernel.reqid_range": (0x3000_0000, 0x4000_0000),
    "kernel.policy_priority": 1000,
    "kernel.block_clear_priority": 3_000_000_001,
    "kernel.block_endpoint_priority": 4_000_000_001,
    "kernel.event_buffer_bytes": 65_536,
    "kernel.request_buffer_bytes": 65_536,
    "metrics.listen": "127.0.0.1:9750",
    "metrics.textfile": "/run/sad.prom",
    "metrics.textfile_interval_seconds": 60,
    "credentials.directory": "/run/other-tls",
    "cluster": {"name": "edge", "node": "a", "etcd": ["127.0.0.1:2379"]},
    "limits.max_connections": 255,
    "limits.max_connections_per_uid": 127,
    "limits.message_timeout_seconds": 6,
}


def settings(**values: Any) -> Settings:
    nested: dict[str, Any] = {}
    for name, value in values.items():
        section, _, field = name.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[field] = value
    return Settings.model_validate(nested)


def test_endpoints_lifetimes_limits_and_groups_are_taken_over() -> None:
    """Nothing of these waits."""
    read = settings(
        endpoint=[ENDPOINT],
        control_groups=["wheel"],
        stop="remove",
        log_level="debug",
        **{
            "lifetimes.backstop_seconds": 20,
            "limits.max_associations": 10,
            "kernel.reconcile_interval_seconds": 60,
        },
    )

    assert reloaded(settings(), read) == (read, ())


@pytest.mark.parametrize("name", RESTART_ONLY)
def test_what_the_process_was_made_with_waits_for_its_next_start(name: str) -> None:
    """It is named, and everything else is taken over all the same."""
    running = settings()
    read = settings(endpoint=[ENDPOINT], **{name: CHANGED[name]})

    held, waiting = reloaded(running, read)

    assert waiting == (name,)
    assert held == settings(endpoint=[ENDPOINT])
    assert Settings.model_validate(held.model_dump()) == held


def test_several_of_one_section_wait_together() -> None:
    """What of the section may change does."""
    read = settings(
        **{
            "kernel.replay_window": 64,
            "kernel.policy_priority": 1000,
            "kernel.reconcile_interval_seconds": 60,
        }
    )

    held, waiting = reloaded(settings(), read)

    assert waiting == ("kernel.replay_window", "kernel.policy_priority")
    assert held == settings(**{"kernel.reconcile_interval_seconds": 60})
