"""What every message is made of: the base of all Structs, and text and numbers with their limits.

The counterpart is :mod:`sad.api.messages`, which has the messages themselves.
"""

from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

Int: TypeAlias = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

# Control characters would reach terminals and logs. \A and \Z: $ would let a last newline pass.
_NO_CONTROLS = r"\A[^\x00-\x1f\x7f-\x9f]*\Z"
Word: TypeAlias = Annotated[str, Meta(max_length=128, pattern=_NO_CONTROLS)]
Identity: TypeAlias = Annotated[str, Meta(max_length=256, pattern=_NO_CONTROLS)]
Identities: TypeAlias = Annotated[tuple[Identity, ...], Meta(max_length=64)]
Note: TypeAlias = Annotated[str, Meta(max_length=2048, pattern=_NO_CONTROLS)]
Address: TypeAlias = Annotated[str, Meta(max_length=64, pattern=_NO_CONTROLS)]
HexKey: TypeAlias = Annotated[str, Meta(max_length=128)]
# What a user agent wrote may hold anything but NUL: judging it is the grammar's matter.
_NO_NUL = r"\A[^\x00]*\Z"
CallId: TypeAlias = Annotated[str, Meta(max_length=1024, pattern=_NO_NUL)]
HeaderRow: TypeAlias = Annotated[str, Meta(max_length=16_384, pattern=_NO_NUL)]
HeaderRows: TypeAlias = Annotated[tuple[HeaderRow, ...], Meta(max_length=32)]


class Message(
    Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel", gc=False
):
    """Base of all: immutable, strict, camelCase on the wire."""


class Flow(Message, frozen=True, kw_only=True):
    """A SIP message's path; a type of both interfaces."""

    peer_address: Address
    peer_port: Int
    local_address: Address
    local_port: Int
