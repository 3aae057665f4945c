"""One endpoint's set made ready: read, judged, sealed, and written beside the one in force.

Runs in a thread of its own, because files can be slow. The private key is wiped before it
returns; what lives on is the sealed memfd, and the file that the SIP server reads. Copies that the
library and the interpreter made on the way cannot be wiped: they are freed.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

from sad.credentials import directory
from sad.credentials.judging import Judged, Material, judge
from sad.credentials.reading import Place, read_material
from sad.credentials.reasons import Refused
from sad.credentials.sealed import Sealed
from sad.model.credential import CertificateFacts, Finding, Part, WantedCredential

_GENERATION_DIGITS = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CredentialSet:
    """A good set. Whoever has it closes ``sealed``."""

    wanted: WantedCredential
    facts: CertificateFacts
    public_key: bytes
    warnings: tuple[Finding, ...]
    generation: str
    sealed: Sealed
    loaded_at: float
    on_disk: bool
    """``current`` leads to it already: an earlier life wrote it."""


@dataclass(frozen=True, slots=True)
class Unusable:
    """Why a set is not taken; never empty."""

    refusals: tuple[Finding, ...]


def load(
    wanted: WantedCredential, folder: Path, place: Place, now: float
) -> CredentialSet | Unusable:
    """Return the set that the files hold now. Nothing that is in force is touched."""
    material, unread = read_material(wanted, place)
    try:
        judged = judge(material, wanted, now)
        refusals = (*unread, *judged.refusals)
        if refusals or judged.facts is None:
            return Unusable(refusals)
        try:
            return _made(material, judged, wanted, folder, now)
        except Refused as refused:
            return Unusable((refused.finding,))
    finally:
        if material.key is not None:
            material.key.wipe()


def generation_of(material: Material, public_key: bytes, wanted: WantedCredential) -> str:
    """Return the name of a set with its settings, the same after a restart.

    It is another one if anything of them differs; the private key goes in by its public half.
    """
    settings = (
        wanted.minimum_version,
        wanted.client_authentication,
        *wanted.ciphers,
        *map(str, sorted(wanted.readers)),
        str(wanted.group),
        str(wanted.write_files),
    )
    digest = hashlib.sha256()
    for part in (material.certificate, material.ca, public_key, "\n".join(settings).encode()):
        assert part is not None, "a set without faults is whole"
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.hexdigest()[:_GENERATION_DIGITS]


def _made(
    material: Material, judged: Judged, wanted: WantedCredential, folder: Path, now: float
) -> CredentialSet:
    assert material.certificate is not None, "judged"
    assert material.key is not None, "judged"
    assert material.ca is not None, "judged"
    assert judged.facts is not None, "judged"
    generation = generation_of(material, judged.public_key, wanted)
    files = {
        "certificate.pem": material.certificate,
        directory.KEY_FILE: material.key.reveal(),
        "ca.pem": material.ca,
    }
    on_disk = False
    if wanted.write_files:
        access = directory.access_of(wanted.readers, wanted.group)
        on_disk = directory.is_written(folder, generation, files, access)
        if not on_disk:
            directory.write_generation(folder, generation, files, access)
    sealed = Sealed()
    try:
        for name, content in files.items():
            sealed.add(name, content)
    except OSError as error:
        sealed.close()
        text = f"no sealed memory for it: {error.strerror}"
        raise Refused("no-memory-file", Part.KEY, text) from None
    return CredentialSet(
        wanted=wanted,
        facts=judged.facts,
        public_key=judged.public_key,
        warnings=judged.warnings,
        generation=generation,
        sealed=sealed,
        loaded_at=now,
        on_disk=on_disk,
    )
