"""Digest AKA (RFC 3310, AKAv1-MD5): the challenge answered by a USIM and checked by the network.

Pure. The counterpart of :mod:`tests.ue.registrar`: both sides compute the same response here,
the vector of norms 17 proves it against the outside.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.ue.headers import SipError
from tests.ue.milenage import Answer, Milenage, Vector

ALGORITHM = "AKAv1-MD5"


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def encode_nonce(rand: bytes, autn: bytes) -> str:
    """Nonce = base64(RAND || AUTN), no server data (RFC 3310 3.2)."""
    return base64.b64encode(rand + autn).decode()


def decode_nonce(nonce: str) -> tuple[bytes, bytes]:
    """Return RAND and AUTN; server data behind them is allowed and ignored."""
    try:
        octets = base64.b64decode(nonce, validate=True)
    except binascii.Error as error:
        raise SipError("the nonce is not base64") from error
    if len(octets) < 32:
        raise SipError("the nonce does not hold RAND and AUTN")
    return octets[:16], octets[16:32]


def digest_response(
    *,
    username: str,
    realm: str,
    password: bytes,
    method: str,
    uri: str,
    nonce: str,
    qop: str | None = None,
    nc: str = "",
    cnonce: str = "",
) -> str:
    """The request-digest of RFC 2617 3.2.2 with a password of raw octets (RFC 3310 3.3)."""
    ha1 = _md5(f"{username}:{realm}:".encode() + password)
    ha2 = _md5(f"{method}:{uri}".encode())
    middle = nonce if qop is None else f"{nonce}:{nc}:{cnonce}:{qop}"
    return _md5(f"{ha1}:{middle}:{ha2}".encode())


def initial_credentials(username: str, realm: str, uri: str) -> dict[str, str]:
    """Authorization of a REGISTER before any challenge: it names the private identity."""
    return {"username": username, "realm": realm, "uri": uri, "nonce": "", "response": ""}


@dataclass(frozen=True, slots=True)
class Challenge:
    """A WWW-Authenticate of an IMS registrar. ``ck`` and ``ik`` must never reach a UE."""

    realm: str
    nonce: str
    qop: str | None
    opaque: str | None = None
    ck: bytes | None = field(default=None, repr=False)
    ik: bytes | None = field(default=None, repr=False)

    @classmethod
    def of(cls, params: Mapping[str, str]) -> "Challenge":
        if params.get("algorithm") != ALGORITHM:
            raise SipError(f"challenge is not {ALGORITHM}")
        if "realm" not in params or "nonce" not in params:
            raise SipError("challenge without realm or nonce")
        offered = [value.strip() for value in params.get("qop", "").split(",")]
        keys = [bytes.fromhex(params[n]) if n in params else None for n in ("ck", "ik")]
        return cls(
            params["realm"],
            params["nonce"],
            "auth" if "auth" in offered else None,
            params.get("opaque"),
            *keys,
        )

    def params(self) -> dict[str, str]:
        """The parameters as the registrar sends them."""
        result = {"realm": self.realm, "nonce": self.nonce, "algorithm": ALGORITHM}
        if self.qop is not None:
            result["qop"] = self.qop
        if self.ck is not None and self.ik is not None:
            result |= {"ck": self.ck.hex(), "ik": self.ik.hex()}
        return result


def challenge_of(vector: Vector, realm: str) -> Challenge:
    nonce = encode_nonce(vector.rand, vector.autn)
    return Challenge(realm, nonce, "auth", ck=vector.ck, ik=vector.ik)


def credentials(
    challenge: Challenge,
    *,
    username: str,
    method: str,
    uri: str,
    res: bytes,
    nonce_count: int,
    cnonce: str,
) -> dict[str, str]:
    """Authorization parameters that answer ``challenge`` with RES."""
    nc = f"{nonce_count:08x}"
    result = {
        "username": username,
        "realm": challenge.realm,
        "uri": uri,
        "nonce": challenge.nonce,
        "algorithm": ALGORITHM,
    }
    if challenge.opaque is not None:
        result["opaque"] = challenge.opaque
    if challenge.qop is not None:
        result |= {"qop": challenge.qop, "nc": nc, "cnonce": cnonce}
    result["response"] = digest_response(
        username=username,
        realm=challenge.realm,
        password=res,
        method=method,
        uri=uri,
        nonce=challenge.nonce,
        qop=challenge.qop,
        nc=nc,
        cnonce=cnonce,
    )
    return result


def failure_credentials(
    challenge: Challenge, *, username: str, method: str, uri: str, cnonce: str, auts: bytes | None
) -> dict[str, str]:
    """Authorization of a refused challenge.

    SQN out of range: AUTS and a response with an empty password (RFC 3310 3.4). MAC wrong: no
    AUTS and an empty response (T33-7.3.1.2, T33-7.3.1.3).
    """
    result = credentials(
        challenge,
        username=username,
        method=method,
        uri=uri,
        res=b"",
        nonce_count=1,
        cnonce=cnonce,
    )
    if auts is None:
        result["response"] = ""
    else:
        result["auts"] = base64.b64encode(auts).decode()
    return result


def check_credentials(given: Mapping[str, str], *, realm: str, res: bytes, method: str) -> bool:
    """Whether Authorization parameters prove RES for their own nonce and uri."""
    qop = given.get("qop")
    if qop not in {None, "auth"} or given.get("algorithm") != ALGORITHM:
        return False
    if given.get("realm") != realm or (qop and not {"nc", "cnonce"} <= given.keys()):
        return False
    expected = digest_response(
        username=given["username"],
        realm=realm,
        password=res,
        method=method,
        uri=given.get("uri", ""),
        nonce=given.get("nonce", ""),
        qop=qop,
        nc=given.get("nc", ""),
        cnonce=given.get("cnonce", ""),
    )
    return hmac.compare_digest(expected.encode(), given.get("response", "").encode())


class Usim:
    """A subscriber's card: the key, and the highest sequence number it has accepted."""

    def __init__(self, k: bytes, opc: bytes, *, sqn: int = 0) -> None:
        self._milenage = Milenage(k, opc)
        self.sqn = sqn

    def answer(self, nonce: str) -> Answer:
        """Check a challenge and remember its SQN.

        Raises MacFailure or SynchronisationFailure of :mod:`tests.ue.milenage`.
        """
        answer = self._milenage.check(*decode_nonce(nonce), self.sqn)
        self.sqn = answer.sqn
        return answer
