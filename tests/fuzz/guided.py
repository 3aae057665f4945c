"""The coverage-guided fuzzer: libFuzzer's arguments in, findings out. Run by ``make fuzz``."""

import os
import sys

import atheris

with atheris.instrument_imports(include=["sip_hooks"]):
    import sip_hooks.secagree  # noqa: F401 - instrumented before the targets import it

from tests.fuzz.targets import check

if __name__ == "__main__":
    # Merging runs this program again for each input that might crash it: by its first word
    sys.argv[0] = os.environ.get("SAD_FUZZ_SELF", sys.argv[0])
    atheris.Setup(sys.argv, check)
    atheris.Fuzz()
