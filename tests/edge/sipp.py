"""SIPp as a foreign client: many calls of several kinds at once, each with one right answer."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.edge.agreement_world import DOMAIN, LIST, PHONES, SERVER
from tests.support.daemon import PATIENCE
from tests.support.namespaces import Namespace

_REQUEST = """\
OPTIONS sip:{domain} SIP/2.0
Via: SIP/2.0/UDP [local_ip]:[local_port];branch=[branch]{vias}
Max-Forwards: 70
From: <sip:{user}@{domain}>;tag=[pid]SIPp[call_number]
To: <sip:{domain}>
Call-ID: [call_id]
CSeq: 1 OPTIONS
{rows}Content-Length: 0

"""
_SEND = '<send retrans="500"><![CDATA[\n{text}\n]]></send>'
_RECEIVE = '<recv response="{status}"><action>{checks}</action></recv>'
_CHECK = (
    '<ereg regexp="{pattern}" search_in="hdr" header="{header}" check_it="true" assign_to="{n}"/>'
)
_SCENARIO = '<?xml version="1.0"?>\n<scenario name="{name}">{steps}{reference}</scenario>\n'


@dataclass(frozen=True)
class Kind:
    """One kind of call: the rows of a request, and the answer as (header, pattern) pairs.

    ``vias`` is what stands behind the first Via.
    """

    name: str
    rows: tuple[str, ...]
    status: int
    answer: tuple[tuple[str, str], ...]
    vias: str = ""


_HOP = f"sip:{DOMAIN}"
_DEMANDS = ("Require: sec-agree", "Proxy-Require: sec-agree")
_CLIENT = "Security-Client: digest"
_ELSEWHERE = "SIP/2.0/UDP 10.9.9.9:5060;branch=z9hG4bKb"
_WRONG = f'Security-Verify: {LIST.replace("0.2", "0.1")};d-ver="{"0a" * 16}"'
_FORGED = (
    f'Proxy-Authorization: Digest username="alice", realm="{DOMAIN}", nonce="x", uri="{_HOP}", '
    f'qop=auth, nc=00000001, cnonce="c", response="{"0a" * 16}"'
)
_LISTED = (
    ("Require:", "sec-agree"),
    ("Security-Server:", LIST),
    ("Proxy-Authenticate:", "nonce=.*qop=.auth"),
)
#: Foreign clients of a first hop that requires the agreement.
KINDS = (
    Kind("nothing", (), 421, _LISTED),
    Kind("supported", ("k: 100rel, Sec-Agree",), 494, _LISTED),
    Kind("require", ("Require: sec-agree",), 494, _LISTED),
    Kind("vias", (*_DEMANDS, _CLIENT), 502, (), vias=f"\nv: {_ELSEWHERE}"),
    Kind("row", (*_DEMANDS, _CLIENT), 502, (), vias=f", {_ELSEWHERE}"),
    Kind("verify", (*_DEMANDS, _FORGED, _WRONG), 494, _LISTED),
    Kind("unknown", (*_DEMANDS, "Security-Client: pigeon;x=3, tls", _CLIENT), 494, _LISTED),
)


def run_kinds(namespace: Namespace, kinds: Sequence[Kind], *, rate: int, seconds: int) -> str:
    """Run all kinds at once, ``rate`` calls a second together; fail with the wrong answers.

    Return how many answers were right, and how quickly SIPp asked: each kind from its own start
    to its end.
    """
    folder = Path(tempfile.mkdtemp(prefix="sipp-", dir="/run"))
    each = -(-rate // len(kinds))
    running = []
    try:
        for port, kind in enumerate(kinds, start=7000):
            scenario = folder / f"{kind.name}.xml"
            scenario.write_text(_scenario(kind))
            command = ["sipp", f"{SERVER[0]}:{SERVER[1]}", "-sf", str(scenario), "-nostdin"]
            command += ["-i", PHONES, "-p", str(port), "-r", str(each), "-m", str(each * seconds)]
            command += [
                "-timeout",
                f"{seconds + PATIENCE:.0f}s",
                "-timeout_error",
                "-recv_timeout",
                "8000",
            ]
            command += ["-trace_err", "-error_file", str(folder / f"{kind.name}.err")]
            running.append(
                namespace.popen(
                    command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=str(folder)
                )
            )
        right, reached = 0, 0.0
        for kind, process in zip(kinds, running, strict=True):
            words, _ = process.communicate(timeout=seconds + PATIENCE * 2)
            errors = folder / f"{kind.name}.err"
            told = errors.read_text()[:2000] if errors.exists() else ""
            assert process.returncode == 0, f"{kind.name}: {told}{words[-3000:]}"
            assert _cumulative(words, "Successful call") == each * seconds
            assert _cumulative(words, "Failed call") == 0
            right += each * seconds
            reached += float(re.findall(r"Call Rate .*\|\s*([0-9.]+) cps", words)[-1])
        return f"{right} answers of {len(kinds)} kinds right, at {reached:.0f} calls a second"
    finally:
        for process in running:
            process.kill()
            process.wait()
        shutil.rmtree(folder)


def _cumulative(words: str, counter: str) -> int:
    (*_, found) = re.finditer(rf"{counter}\s*\|\s*\d+\s*\|\s*(\d+)", words)
    return int(found[1])


def _scenario(kind: Kind) -> str:
    rows = "".join(f"{row}\n" for row in kind.rows)
    request = _REQUEST.format(domain=DOMAIN, user="alice", vias=kind.vias, rows=rows)
    checks = "".join(
        _CHECK.format(pattern=pattern, header=header, n=number)
        for number, (header, pattern) in enumerate(kind.answer, start=1)
    )
    steps = _SEND.format(text=request) + _RECEIVE.format(status=kind.status, checks=checks)
    used = ",".join(str(n) for n in range(1, len(kind.answer) + 1))
    reference = f'<Reference variables="{used}"/>' if used else ""
    return _SCENARIO.format(name=kind.name, steps=steps, reference=reference)
