"""What a running daemon takes over of changed settings, and what only its next start can.

Pure: :mod:`sad.runtime.reloading` brings it about.
"""

from typing import Any, Final

from pydantic import BaseModel

from sad.config.settings import Settings

#: What the process has made, opened or written into the kernel with these values stays as it is.
RESTART_ONLY: Final = (
    "socket_path",
    "socket_mode",
    "socket_group",
    "state_directory",
    "ownership_tag",
    "on_kernel_loss",
    "kernel.replay_window",
    "kernel.reqid_range",
    "kernel.policy_priority",
    "kernel.block_clear_priority",
    "kernel.block_endpoint_priority",
    "kernel.event_buffer_bytes",
    "kernel.request_buffer_bytes",
    "metrics.listen",
    "metrics.textfile",
    "metrics.textfile_interval_seconds",
    "credentials.directory",
    "cluster",
    "limits.max_connections",
    "limits.max_connections_per_uid",
    "limits.message_timeout_seconds",
)


def reloaded(running: Settings, read: Settings) -> tuple[Settings, tuple[str, ...]]:
    """Return the settings that hold from now on, and the names of changes that must wait.

    Each of these keeps the value with which the daemon runs until it is restarted.
    """
    waiting = tuple(name for name in RESTART_ONLY if _value(running, name) != _value(read, name))
    kept: dict[str, dict[str, Any]] = {}
    for name in waiting:
        section, _, field = name.rpartition(".")
        kept.setdefault(section, {})[field] = _value(running, name)
    update = kept.pop("", {})
    for section, fields in kept.items():
        update[section] = getattr(read, section).model_copy(update=fields)
    return read.model_copy(update=update), waiting


def _value(settings: BaseModel, name: str) -> object:
    value: object = settings
    for part in name.split("."):
        value = getattr(value, part)
    return value
