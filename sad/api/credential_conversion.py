"""TLS credential sets on the wire. No key stands in any of it: keys leave as descriptors."""

from sad.api import messages
from sad.api.framing import encode_reply
from sad.api.instants import microseconds
from sad.api.passing import Passed, Reply
from sad.model.credential import CertificateFacts, CredentialView, Finding, HandedOut


def handed_out(handed: HandedOut) -> Reply:
    """Answer with a set; its descriptors go along, or there are none."""
    certificate, key, ca = range(3) if handed.descriptors else (None,) * 3
    encoded = encode_reply(
        messages.GetCredentialOut(
            generation=handed.generation,
            names=handed.names,
            minimum_version=handed.minimum_version,
            ciphers=handed.ciphers,
            client_authentication=handed.client_authentication,
            certificate_index=certificate,
            key_index=key,
            ca_index=ca,
        )
    )
    return Passed(encoded, handed.descriptors) if handed.descriptors else encoded


def credential(view: CredentialView) -> messages.Credential:
    """Show a set."""
    return messages.Credential(
        endpoint=view.endpoint,
        state=view.state,
        generation=view.generation,
        loaded_at=microseconds(view.loaded_at),
        certificate=None if view.facts is None else _certificate(view.facts),
        minimum_version=view.minimum_version,
        ciphers=view.ciphers,
        client_authentication=view.client_authentication,
        refusals=tuple(map(_finding, view.refusals)),
        warnings=tuple(map(_finding, view.warnings)),
    )


def _certificate(facts: CertificateFacts) -> messages.Certificate:
    return messages.Certificate(
        subject=facts.subject,
        issuer=facts.issuer,
        serial=facts.serial,
        names=facts.names,
        alternative_names=facts.alternative_names,
        algorithm=facts.algorithm,
        not_before=microseconds(facts.not_before),
        not_after=microseconds(facts.not_after),
        valid_until=microseconds(facts.valid_until),
        ends_first=facts.ends_first,
    )


def _finding(found: Finding) -> messages.CredentialFinding:
    return messages.CredentialFinding(
        part=found.part,
        reason=found.reason,
        text=found.text,
        rule=found.rule,
        hint=found.hint,
    )
