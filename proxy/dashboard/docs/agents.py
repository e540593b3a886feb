"""How often agents ask again after an error of ours, measured with the programs (tests/clients). Pure but for words."""

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

AGENTS = ("Claude Code 2.1.332", "Codex 0.171.0")


@dataclass(frozen=True, slots=True)
class Asked:
    """`requests`: how many each of AGENTS makes in all, in their order."""

    error: Promise
    requests: tuple[int, ...]


ASKED = (
    Asked(_("401, the key does not work"), (1, 6)),
    Asked(_("an empty wallet: 402, on /v1/responses 429"), (1, 1)),
    Asked(_("403, the key may not"), (1, 6)),
    Asked(_("404, no such model"), (2, 1)),
    Asked(_("400, a field is wrong"), (6, 1)),
    Asked(_("400, the prompt is longer than the context"), (1, 1)),
    Asked(_("429 with Retry-After, which they wait for"), (2, 6)),
    Asked(_("502, the provider fails again and again"), (7, 15)),
    Asked(_("a stream that breaks off"), (4, 6)),
)
