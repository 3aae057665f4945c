"""``python -m tests.rules``: the table of rule, result and tests, of the last runs."""

import sys

from tests.support.rules import results, table

if __name__ == "__main__":
    sys.stdout.write(table(results()))
