"""The web process with holds that live for HOLD_SECONDS of its environment. In place of `config.web` (tests.live)."""

import os
import sys

if __name__ == "__main__":
    sys.argv[0] = "config.web"
    from django.conf import settings

    from config import web

    settings.HOLD_SECONDS = int(os.environ["HOLD_SECONDS"])
    web.main()
