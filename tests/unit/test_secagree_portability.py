"""sip_hooks.secagree runs inside SIP servers: system interpreter, standard library, old syntax."""

import ast
import subprocess
from pathlib import Path

import pytest

import sip_hooks.secagree

PACKAGE = Path(sip_hooks.secagree.__file__).parent
ROOT = PACKAGE.parent.parent

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from sip_hooks.secagree import *
policy = ServerPolicy((("hmac-sha-1-96", "null"),))
element = "ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1000;spi-s=1001;port-c=6301;port-s=6300"
assert choose_mechanism(parse_header(element), policy).choice.parameters.spi_us == 1001
print(render_header(build_security_server(policy, spi_pc=256, spi_ps=257, port_pc=1, port_ps=2)))
print(sorted({"asyncio", "socket", "ssl", "ipaddress"} & set(sys.modules)))
"""


def test_the_system_interpreter_runs_it_without_any_package() -> None:
    """Standard library only: no site-packages, no environment, nothing heavy imported."""
    done = subprocess.run(
        ["/usr/bin/python3", "-I", "-S", "-W", "error", "-c", SCRIPT, str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )

    assert (done.returncode, done.stderr) == (0, "")
    value, heavy_modules = done.stdout.splitlines()
    assert value.startswith("ipsec-3gpp;prot=esp;mod=trans;spi-c=256;spi-s=257;port-c=1;port-s=2;")
    assert heavy_modules == "[]"


@pytest.mark.parametrize("path", sorted(PACKAGE.glob("*.py")), ids=lambda path: path.name)
def test_the_syntax_is_that_of_python_3_9(path: Path) -> None:
    """SIP servers of older distributions embed Python 3.9."""
    ast.parse(path.read_text(encoding="utf-8"), feature_version=(3, 9))


def test_the_public_face_is_complete() -> None:
    """Every public name is exported once and documented."""
    names = sip_hooks.secagree.__all__

    assert len(set(names)) == len(names)
    for name in names:
        exported = getattr(sip_hooks.secagree, name)
        if callable(exported) and not name.endswith("Pair") and name != "Parameter":
            assert exported.__doc__, name
