"""Prints the page on both roles, ``STATES.md``: ``python -m sip_hooks.secagree``."""

import sys

from sip_hooks.secagree.transitions import document

if __name__ == "__main__":
    sys.stdout.write(document())
