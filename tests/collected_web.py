"""The web process with its garbage collector off until it is asked: SIGUSR2 collects all and logs how much that was.

Started in place of `config.web` (tests.live).
"""

import gc
import json
import logging
import signal
import sys
from collections import Counter
from types import FrameType

MOST_SHOWN = 15


def collect(_number: int, _frame: FrameType | None) -> None:
    gc.set_debug(gc.DEBUG_SAVEALL)
    found = gc.collect()
    gc.set_debug(0)
    kinds = Counter(f"{type(one).__module__}.{type(one).__qualname__}" for one in gc.garbage)
    gc.garbage.clear()
    gc.collect()
    logging.getLogger("collected").warning(
        json.dumps({"found": found, "kinds": dict(kinds.most_common(MOST_SHOWN))})
    )


if __name__ == "__main__":
    gc.disable()
    signal.signal(signal.SIGUSR2, collect)
    sys.argv[0] = "config.web"
    from config import web

    web.main()
