"""A user agent's end that owes nothing to this project: ``ip xfrm`` commands, keys by openssl.

The third reading of TS 33.203 7.1 and Annex I beside the daemon's and :mod:`tests.ue`'s: the
commands are written out as a person would, and no code of either side is used.
"""

import contextlib
import dataclasses
import functools
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.support.make import CK, IK
from tests.support.namespaces import Namespace
from tests.support.pair import EDGE, EdgeEnd, daemon_at_edge, two_ends

#: FC, P0 and the length of P0 (T33-I-a), written out.
_GMAC: Final = "\x58AES_GMAC_SALT\x00\x0d"
_GCM: Final = "\x59AES_GCM_SALT\x00\x0c"


@functools.cache
def salt(text: str, ck: str, ik: str) -> str:
    """Return eight hex digits: the end of HMAC-SHA-256 under CK || IK, by openssl."""
    command = ["openssl", "dgst", "-sha256", "-mac", "HMAC", "-macopt", f"hexkey:{ck}{ik}"]
    done = subprocess.run(command, input=text.encode("latin-1"), capture_output=True, check=True)
    return done.stdout.decode().split()[-1][-8:]


def algorithms(alg: str, ealg: str, ck: str = CK.hex(), ik: str = IK.hex()) -> str:
    """Return what ``ip xfrm state add`` says of a pair (RFC 3329 names), keys included."""
    if (alg, ealg) == ("null", "aes-gcm"):
        return f"aead rfc4106(gcm(aes)) 0x{ck}{salt(_GCM, ck, ik)} 128"
    if (alg, ealg) == ("aes-gmac", "null"):
        return f"aead rfc4543(gcm(aes)) 0x{ik}{salt(_GMAC, ck, ik)} 128"
    integrity = {
        "hmac-sha-1-96": f"auth-trunc hmac(sha1) 0x{ik}00000000 96",
        "hmac-md5-96": f"auth-trunc hmac(md5) 0x{ik} 96",
        "hmac-sha-256-128": f"auth-trunc hmac(sha256) 0x{ik}{'00' * 16} 128",
    }[alg]
    encryption = {
        "null": 'enc ecb(cipher_null) ""',
        "aes-cbc": f"enc cbc(aes) 0x{ck}",
        "des-ede3-cbc": f"enc cbc(des3_ede) 0x{ck}{ck[:16]}",
    }[ealg]
    return f"{integrity} {encryption}"


def commands(s: dict[str, Any]) -> list[str]:
    """Return the UE's side of a set: four SAs, and policies for all port pairs (INTEROP-1)."""
    u, p = s["ueAddress"], s["pcscfAddress"]
    bits = 128 if ":" in u else 32
    up, down = f"src {u} dst {p}", f"src {p} dst {u}"
    keys = algorithms(s["integrityAlgorithm"], s["encryptionAlgorithm"])
    how = f"mode transport replay-window 32 {keys}"
    rows = [
        f"xfrm state add {way} proto esp spi {s[spi]} reqid {reqid} {how}"
        for way, spi, reqid in (
            (up, "spiPs", 1), (up, "spiPc", 2), (down, "spiUc", 3), (down, "spiUs", 3)
        )
    ]  # fmt: skip
    for ue_port in ("portUc", "portUs"):
        for edge_port, reqid in (("portPs", 1), ("portPc", 2)):
            out = f"src {u}/{bits} dst {p}/{bits} sport {s[ue_port]} dport {s[edge_port]}"
            into = f"src {p}/{bits} dst {u}/{bits} sport {s[edge_port]} dport {s[ue_port]}"
            for way, ends, selector, wanted in (
                ("out", up, out, reqid),
                ("in", down, into, 3),
            ):
                rows.append(
                    f"xfrm policy add dir {way} {selector} tmpl {ends} proto esp reqid {wanted} "
                    "mode transport"
                )
    return rows


@dataclasses.dataclass
class IndependentEnd(EdgeEnd):
    """A daemon at the edge, nothing of ours at the user agent's side."""

    def install(self, version: int = 4, **settings: Any) -> dict[str, Any]:
        """Install a set on both sides; ``settings`` are of ``install_edge``."""
        association = self.install_edge(version, **settings)
        ip(self.ue, *commands(association["ipsec3gpp"]))
        return association

    def clear(self) -> None:
        """End what is installed on both sides."""
        for association in self.edge_daemon.associations():
            self.edge_daemon.call("Release", id=association["id"])
        ip(self.ue, "xfrm state flush", "xfrm policy flush")


def ip(namespace: Namespace, *lines: str) -> None:
    """Run commands of ``ip`` in one process."""
    namespace.run(["ip", "-batch", "-"], stdin="\n".join([*lines, ""]))


@contextlib.contextmanager
def independent_end(
    folder: Path, *, settings: str = "", endpoints: str = ""
) -> Iterator[IndependentEnd]:
    """Build both sides and start the edge's daemon; EDGE has an address of each family."""
    assert set(EDGE) == {4, 6}
    with two_ends() as ends:
        daemon = daemon_at_edge(ends.edge, folder, settings, endpoints)
        try:
            yield IndependentEnd(ends.edge, ends.ue, ends.cable, daemon.start())
        finally:
            daemon.stop()
