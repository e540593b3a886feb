"""How often agents ask again after an error of ours: counted by hand with the programs, in November 2026."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

AGENTS = (
    "Claude Code 2.1.332",
    "Codex 0.171.0",
    "opencode 1.18.33",
    "aider 0.86.2",
    "Cline 3.0.65",
    "Continue 1.5.47",
    "openai 3.57, 7.59",
    "anthropic 2.14",
)


@dataclass(frozen=True, slots=True)
class Asked:
    """`requests`: how many each of AGENTS makes within a minute, in their order; None: not tried."""

    error: Promise
    requests: tuple[int | None, ...]


ASKED = (
    Asked(_("401, the key does not work"), (1, 6, 2, 1, 1, 1, 1, 1)),
    Asked(_("an empty wallet: 402, on /v1/responses 429"), (1, 1, 2, 9, 1, 1, 1, 1)),
    Asked(_("403, the key may not"), (1, 6, None, None, 1, 1, None, None)),
    Asked(_("404, no such model"), (2, 1, None, None, 1, 1, None, None)),
    Asked(_("400, a field is wrong"), (6, 1, None, None, 1, 1, None, None)),
    Asked(_("400, the prompt is longer than the context"), (1, 1, None, None, 1, 1, None, None)),
    Asked(_("429 that says to wait two seconds"), (7, 6, 9, 24, 6, 21, 3, 3)),
    Asked(_("500 again and again"), (7, 9, 9, 27, 5, 26, 3, 3)),
    Asked(_("503 that says to wait two seconds"), (7, 22, 9, 15, 6, 21, 3, 3)),
    Asked(_("a stream that breaks off"), (4, 6, 7, 9, 1, 9, 1, 1)),
)
