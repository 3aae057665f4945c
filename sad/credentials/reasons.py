"""Every reason to refuse a credential set, or to warn of one: its rule and the way out.

The word is stable: it stands in status and log. RFC 5280 is the profile of certificates, RFC 5922
whose certificate it is for SIP (TLS-1), RFC 8996 and RFC 9325 what TLS may be (UPD-8996).
"""

from typing import Final, NamedTuple

from sad.model.credential import Finding, Part


class Reason(NamedTuple):
    """A rule, and the way out."""

    rule: str
    hint: str


_OWN_FILE: Final = "file rules of sad"
_LEAF_FIRST: Final = "write the own certificate first, then the certificate of each issuer"
_ISSUE_SIP: Final = "have it issued with subjectAltName URI:sip:DOMAIN (and DNS:DOMAIN beside it)"
_NEW_KEY: Final = "make a new key: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256"

REASONS: Final = {
    # --- the file ---
    "missing-file": Reason(_OWN_FILE, "correct the path, or put the file there"),
    "unreadable": Reason(_OWN_FILE, "make it readable for sad's user: setfacl -m u:sad:r FILE"),
    "link": Reason(_OWN_FILE, "name the file itself: a link can be turned to another meanwhile"),
    "not-regular": Reason(_OWN_FILE, "name a regular file"),
    "wrong-owner": Reason(_OWN_FILE, "chown root FILE, or chown sad FILE"),
    "key-open-to-others": Reason(
        _OWN_FILE, "chmod 0400 FILE, and think whether the key is still a secret"
    ),
    "writable-by-others": Reason(_OWN_FILE, "chmod go-w FILE"),
    "empty": Reason(_OWN_FILE, "put the PEM text there"),
    "too-big": Reason(_OWN_FILE, "keep only what belongs to this endpoint in it"),
    "no-credentials-directory": Reason(
        "systemd.exec(5)", "LoadCredential=NAME:FILE in a drop-in of sad.service, or write a path"
    ),
    # --- PEM ---
    "not-pem": Reason(
        "RFC 7468 2", "convert it: openssl x509 -inform DER -in FILE (keys: openssl pkey)"
    ),
    "garbage-pem": Reason("RFC 7468 2", "write the file anew: its text is damaged"),
    "foreign-block": Reason("RFC 7468 5", "remove what is neither certificate nor key"),
    "key-beside-certificate": Reason(
        _OWN_FILE, "move the key to a file of its own, and think whether it is still a secret"
    ),
    "certificate-beside-key": Reason(_OWN_FILE, "move the certificate to a file of its own"),
    "no-certificate": Reason("RFC 5246 7.4.2", "put the certificate there, PEM"),
    "no-key": Reason("RFC 7468 10", "put the private key there, PEM"),
    "two-keys": Reason(_OWN_FILE, "leave the key of this certificate alone in the file"),
    "too-many-certificates": Reason(_OWN_FILE, "keep only the chain of this certificate"),
    "twice": Reason("RFC 5246 7.4.2", "remove one of the two"),
    # --- keys ---
    "encrypted-key": Reason(
        "RFC 7468 11",
        "nobody is there to type a password: openssl pkey -in FILE, or LoadCredentialEncrypted=",
    ),
    "unsupported-key": Reason("RFC 9325 4.5", _NEW_KEY),
    "weak-key": Reason("RFC 9325 4.5", _NEW_KEY),
    "weak-curve": Reason("RFC 8422 5.1.1", _NEW_KEY),
    "key-of-another-kind": Reason("RFC 5246 7.4.2", "take the key that the certificate is of"),
    "key-mismatch": Reason("RFC 5246 7.4.2", "take the key that the certificate is of"),
    # --- the certificate ---
    "old-version": Reason("RFC 5280 4.1.2.1", "have it issued as version 3"),
    "weak-signature": Reason("RFC 9155 2", "have it issued with SHA-256 or better"),
    "not-yet-valid": Reason("RFC 5280 4.1.2.5", "wait until then, or set this node's clock"),
    "expired": Reason("RFC 5280 4.1.2.5", "renew it"),
    "ca-as-end-entity": Reason(
        "RFC 5280 4.2.1.9", "have a certificate issued by it; do not use the CA's own"
    ),
    "key-usage": Reason("RFC 5280 4.2.1.3", "have it issued with keyUsage digitalSignature"),
    "extended-key-usage": Reason(
        "RFC 5924 4, RFC 5922 4",
        "have it issued with extendedKeyUsage serverAuth or id-kp-sipDomain, or without any",
    ),
    "bad-extension": Reason("RFC 5280 4.2", "have it issued anew: openssl x509 -text shows it"),
    "unknown-critical-extension": Reason("RFC 5280 4.2", "have it issued without"),
    "no-alternative-name": Reason("RFC 5922 7.1, TLS-1", _ISSUE_SIP),
    "no-sip-identity": Reason("RFC 5922 7.1, TLS-1", _ISSUE_SIP),
    "wildcard": Reason("RFC 5922 7.2, TLS-1", _ISSUE_SIP),
    "sips-uri": Reason("RFC 5922 7.1, TLS-1", _ISSUE_SIP),
    "uri-with-user": Reason("RFC 5922 7.1, TLS-1", _ISSUE_SIP),
    "dns-beside-uri": Reason("RFC 5922 7.1, TLS-1", _ISSUE_SIP),
    "domain-mismatch": Reason("RFC 5922 7.2, TLS-1", f"{_ISSUE_SIP}, or correct domains"),
    # --- the chain ---
    "leaf-not-first": Reason("RFC 5246 7.4.2", _LEAF_FIRST),
    "chain-order": Reason("RFC 5246 7.4.2", _LEAF_FIRST),
    "outside-chain": Reason("RFC 5246 7.4.2", "remove what did not issue the one before it"),
    "missing-intermediate": Reason("RFC 5246 7.4.2", "append the certificate of that issuer"),
    "self-signed": Reason("RFC 5280 6.1", "have a certificate issued by a CA (openssl ca)"),
    "untrusted": Reason("RFC 5280 6.1", "put the root's certificate into the ca file"),
    "bad-signature": Reason("RFC 5280 6.1.3", "append the certificate that did sign it"),
    "issuer-not-yet-valid": Reason("RFC 5280 6.1.3", "wait, or have another CA issue it"),
    "issuer-expired": Reason("RFC 5280 6.1.3", "append the issuer's renewed certificate"),
    "issuer-not-ca": Reason("RFC 5280 4.2.1.9", "have a CA issue it"),
    "issuer-key-usage": Reason("RFC 5280 4.2.1.3", "have the CA issued with keyCertSign"),
    "issuer-weak-key": Reason("RFC 9325 4.5", "have another CA issue it"),
    "path-length": Reason("RFC 5280 4.2.1.9", "have it issued by a CA that may"),
    "name-constraints": Reason(
        "RFC 5280 4.2.1.10", "have it issued by a CA that may vouch for these names"
    ),
    "chain-refused": Reason("RFC 5280 6.1", "openssl verify -x509_strict tells more"),
    "anchor-not-ca": Reason("RFC 5280 4.2.1.9", "put only certificates of CAs there"),
    "no-fitting-cipher": Reason("RFC 8422 5.3", "add ciphers of the key's kind, or take defaults"),
    # --- beside the set ---
    "expires-soon": Reason("RFC 5280 4.1.2.5", "renew it, then systemctl reload sad"),
    "revoked": Reason("RFC 5280 5", "make a new key and have a new certificate issued"),
    "root-sent": Reason("RFC 5246 7.4.2", "remove the root from the file: peers have it or not"),
    "cannot-write": Reason(_OWN_FILE, "see directory of [credentials]"),
    "no-memory-file": Reason("memfd_create(2)", "raise LimitNOFILE= of sad.service"),
    "no-access-list": Reason(
        "acl(5)", "take a directory on a file system with access lists, as /run is"
    ),
    "reload-failed": Reason("reload_command", "run it by hand as the user sad"),
}


def finding(reason: str, part: Part, text: str) -> Finding:
    """Return a finding of one of the reasons; ``text`` says what was seen."""
    rule, hint = REASONS[reason]
    return Finding(part=part, reason=reason, text=text, rule=rule, hint=hint)


class Refused(Exception):
    """One part of a set cannot be judged any further."""

    def __init__(self, reason: str, part: Part, text: str) -> None:
        super().__init__(reason)
        self.finding = finding(reason, part, text)
