"""What both interfaces say of TLS credential sets; a part of :mod:`sad.api.messages`."""

from sad.api.wire import Int, Message, Word
from sad.model.credential import ClientAuthentication, CredentialState


class GetCredentialIn(Message, frozen=True, kw_only=True):
    """Whose set, and which the caller has."""

    endpoint: Word
    known_generation: Word | None = None


class GetCredentialOut(Message, frozen=True, kw_only=True):
    """The set in force; the indexes are of the descriptors that came with the reply."""

    generation: str
    names: tuple[str, ...]
    minimum_version: str
    ciphers: tuple[str, ...]
    client_authentication: ClientAuthentication
    certificate_index: Int | None
    key_index: Int | None
    ca_index: Int | None


class CredentialFinding(Message, frozen=True, kw_only=True):
    """Something wrong, or soon wrong, with a set."""

    part: str
    reason: str
    text: str
    rule: str
    hint: str


class Certificate(Message, frozen=True, kw_only=True):
    """What a certificate says."""

    subject: str
    issuer: str
    serial: str
    names: tuple[str, ...]
    alternative_names: tuple[str, ...]
    algorithm: str
    not_before: Int
    not_after: Int
    valid_until: Int
    ends_first: str


class Credential(Message, frozen=True, kw_only=True):
    """An endpoint's set as it stands."""

    endpoint: str
    state: CredentialState
    generation: str
    loaded_at: Int
    certificate: Certificate | None
    minimum_version: str
    ciphers: tuple[str, ...]
    client_authentication: ClientAuthentication
    refusals: tuple[CredentialFinding, ...]
    warnings: tuple[CredentialFinding, ...]


class RevokeCredentialIn(Message, frozen=True, kw_only=True):
    """Whose set."""

    endpoint: Word


class RevokeCredentialOut(Message, frozen=True, kw_only=True):
    """What is in force no more."""

    generation: str


class ListCredentialsIn(Message, frozen=True, kw_only=True):
    """Of one endpoint, or all."""

    endpoint: Word | None = None


class ListCredentialsOut(Message, frozen=True, kw_only=True):
    """All of them."""

    credentials: tuple[Credential, ...]
