"""What ``sad --check-config`` says of the key files."""

import os
import time
from collections.abc import Iterator, Sequence

from sad.config.problems import Problem
from sad.config.settings import Settings
from sad.core.key_judgement import instant_text
from sad.keys.load import LoadedKeys, load_keys
from sad.model.endpoint import Endpoint


def check_keys(
    settings: Settings, endpoints: Sequence[Endpoint]
) -> tuple[Sequence[Problem], Sequence[str]]:
    """Return the problems of the key files, and lines on what a daemon would use of them."""
    found = load_keys(
        settings.key_directory, os.environ, {e.name: e for e in endpoints}, now=time.time()
    )
    for key_set in found.sets:
        key_set.wipe()
    return found.problems, tuple(_lines(found))


def _lines(found: LoadedKeys) -> Iterator[str]:
    for key_set in found.sets:
        peer = key_set.peer_address or key_set.identity
        yield (
            f"key set {key_set.name}: {peer} on endpoint {key_set.endpoint}, "
            f"{instant_text(key_set.not_before)} to {instant_text(key_set.not_after)}, "
            f"{key_set.activation}"
        )
    for expired in found.expired:
        yield f"warning: {expired}"
