"""Python's collector of cyclic garbage, so that nobody waits for it.

What associations are made of has no cycles and is freed as soon as nobody holds it; cycles come
of failures (a traceback holds its frame). By default the collector looks after every 700 objects,
which costs a tenth of what a registration does, and now and then at everything there is: 50 ms in
which nobody is served, for an empty daemon.
"""

import gc
from typing import Final

#: Objects until the youngest are looked at, and how often until the older ones are.
THRESHOLDS: Final = (2_000, 50, 50)


def settle() -> None:
    """Leave alone what lives by now, for it lives long, and look at the rest less often."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
