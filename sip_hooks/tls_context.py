"""The TLS credential set of an endpoint, from the daemon, for software that does TLS by itself.

Three lines for a server::

    from sip_hooks.tls_context import TlsCredential
    credential = TlsCredential("access")          # the endpoint's name in sad.toml
    context = credential.server_context()         # an ssl.SSLContext

The daemon has judged the set, and keeps judging it: there is none that has expired or was revoked.
Certificate, key and trust anchors come as sealed memfds, so the key never lies in a file system.
Now and then (a minute is often enough) ask whether there is a new one::

    if credential.refresh():
        context = credential.server_context()     # for connections from now on
        # or, for a server that cannot take another context: credential.load_into(context)

:meth:`TlsCredential.refresh` raises :class:`sip_hooks.client.CallError` ``NoCredential`` when
there is none any more: stop taking connections. Standard library only. What a peer's certificate
says of whose it is, :mod:`sip_hooks.secagree.certificate` reads by RFC 5922.
"""

from __future__ import annotations

import os
import ssl
from typing import TYPE_CHECKING, Any

from sip_hooks.client import BadReply, Client

if TYPE_CHECKING:
    from typing import Self

_METHOD = "org.sipsad.Associations.GetCredential"
_TIMEOUT = 5.0
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
_VERIFY = {
    "none": ssl.CERT_NONE,
    "optional": ssl.CERT_OPTIONAL,
    "required": ssl.CERT_REQUIRED,
}


class TlsCredential:
    """The credential set of one endpoint as the daemon last handed it out.

    ``generation`` names it, ``names`` are the SIP domains that its certificate is of. Belongs to
    one thread, as its client does. Raises what :meth:`sip_hooks.client.Client.call` raises.
    """

    def __init__(self, endpoint: str, client: Client | None = None) -> None:
        self.endpoint = endpoint
        self.generation = ""
        self.names: tuple[str, ...] = ()
        self._client = client or Client(timeout=_TIMEOUT)
        self._reply: dict[str, Any] = {}
        self._descriptors: list[int] = []
        try:
            self.refresh()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Give certificate, key and connection back; contexts that were made go on."""
        self._close_descriptors()
        self.generation = ""
        self._client.close()

    def refresh(self) -> bool:
        """Ask for the set that is in force now; return whether it is another one."""
        parameters: dict[str, Any] = {"endpoint": self.endpoint}
        if self.generation:
            parameters["knownGeneration"] = self.generation
        reply, descriptors = self._client.call_for_descriptors(_METHOD, parameters)
        if reply["generation"] == self.generation:
            _close(descriptors)
            return False
        places = [reply.get(name + "Index") for name in ("certificate", "key", "ca")]
        known = reply["minimumVersion"] in _VERSIONS and reply["clientAuthentication"] in _VERIFY
        if not known or any(place not in range(len(descriptors)) for place in places):
            _close(descriptors)
            raise BadReply("the answer is no credential that this version knows")
        self._close_descriptors()
        self._descriptors = descriptors
        self._reply = reply
        self.generation = reply["generation"]
        self.names = tuple(reply["names"])
        return True

    def server_context(self) -> ssl.SSLContext:
        """Return a new context for the server side, as the endpoint's settings want it."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.options |= ssl.OP_NO_RENEGOTIATION
        self.load_into(context)
        return context

    def load_into(self, context: ssl.SSLContext) -> None:
        """Have a context use this set for handshakes from now on.

        Certificate, key, versions and ciphers take the place of what it had. Trust anchors are
        added, since :mod:`ssl` removes none: if one is gone, make a new context.
        """
        reply = self._reply
        context.minimum_version = _VERSIONS[reply["minimumVersion"]]
        if reply["ciphers"]:
            context.set_ciphers(":".join(reply["ciphers"]))
        context.load_verify_locations(cafile=self._path("ca"))
        context.load_cert_chain(self._path("certificate"), self._path("key"), _no_password)
        context.verify_mode = _VERIFY[reply["clientAuthentication"]]

    def _path(self, part: str) -> str:
        # ssl reads files by name only; opened so, each reader has a position of its own.
        return "/proc/self/fd/{}".format(self._descriptors[self._reply[part + "Index"]])

    def _close_descriptors(self) -> None:
        descriptors, self._descriptors = self._descriptors, []
        _close(descriptors)


def _close(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def _no_password() -> str:
    # OpenSSL would ask the terminal. No key from the daemon is encrypted.
    raise ValueError("the key is encrypted")
