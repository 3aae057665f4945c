"""The credential under which tests seal records."""

from pathlib import Path
from typing import Final

from sad.store.sealing_key import CREDENTIAL, KEY_BYTES

SEALING: Final = bytes(range(1, KEY_BYTES + 1))


def credential(folder: Path, content: bytes = SEALING, mode: int = 0o400) -> dict[str, str]:
    """Put the credential into a folder; return the environment of a service that has it."""
    path = folder / CREDENTIAL
    path.unlink(missing_ok=True)
    path.write_bytes(content)
    path.chmod(mode)
    return {"CREDENTIALS_DIRECTORY": str(folder)}
