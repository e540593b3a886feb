"""What a person fills in about a key, in the digits of any keyboard."""

import re
import uuid
from collections.abc import Iterable
from datetime import datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone
from django.utils.translation import get_language, gettext, pgettext_lazy
from django.utils.translation import gettext_lazy as _

from accounts.shared import formats
from accounts.shared.digits import ascii_digits
from accounts.shared.fields import IGNORED, LTR, DayField
from keys import networks
from keys.rules import COUNT_MAX, MODELS_MAX, NETWORKS_MAX, KeyRules
from proxy.dashboard.capped_form import CappedForm, figure
from wallet.ledger.budgets import BudgetReport

NEVER, ON_DAY, KEEP = "never", "day", "keep"
LIVES = [
    (NEVER, _("Never")),
    ("7", _("In 7 days")),
    ("30", _("In 30 days")),
    ("90", _("In 90 days")),
    ("365", _("In a year")),
    (ON_DAY, _("At the end of a day of your choice")),
]
GRACES = [
    ("0", pgettext_lazy("grace", "At once")),
    ("1", _("In 1 hour")),
    ("24", _("In 24 hours")),
    ("168", _("In 7 days")),
]


class CountField(forms.CharField):
    """A whole number above zero as an int; empty (None) is allowed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "numeric", **LTR})
        super().__init__(max_length=40, required=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> int | None:
        given = IGNORED.sub("", ascii_digits(super().clean(value)))
        if not given:
            return None
        if not given.isdecimal() or not 0 < int(given) <= COUNT_MAX:
            raise forms.ValidationError(_("Enter a whole number above zero, or leave it empty."))
        return int(given)


class NetworksField(forms.CharField):
    """Networks or addresses, apart by lines, spaces or commas, as a tuple of CIDR texts; empty is allowed."""

    def __init__(self, **kwargs: Any) -> None:
        widget = forms.Textarea(attrs={"rows": 3, "spellcheck": "false", **LTR})
        super().__init__(max_length=4_000, required=False, widget=widget, **kwargs)

    def clean(self, value: Any) -> tuple[str, ...]:
        found: dict[str, None] = {}
        for text in re.split(r"[\s,،;؛]+", ascii_digits(super().clean(value))):
            if not text:
                continue
            try:
                found[str(networks.parse(text))] = None
            except ValueError:
                raise forms.ValidationError(
                    _("“%(text)s” is not a network. Enter it like 203.0.113.0/24 or 2001:db8::/32."),
                    params={"text": text[:60]},
                ) from None
        if len(found) > NETWORKS_MAX:
            raise forms.ValidationError(_("That is too many networks."))
        return tuple(found)


class KeyForm(CappedForm):
    """A key's name and rules. `models` are the ids to choose from; `rules` and `cap` are those it has now."""

    life = forms.ChoiceField(label=_("Expires"), required=False, choices=LIVES)
    last_day = DayField(
        label=_("Last day"),
        help_text=_("The key works until the end of this day, such as 1405/09/02 or 2026-11-23."),
    )
    allowed_models = forms.MultipleChoiceField(
        label=_("Models"),
        required=False,
        help_text=_("Tick none to allow all models, including future ones."),
        widget=forms.CheckboxSelectMultiple,
    )
    allowed_networks = NetworksField(
        label=_("Networks"),
        help_text=_(
            "Addresses or networks the key may be used from, one per line. Leave empty to allow any."
        ),
    )
    rpm = CountField(label=_("Requests per minute"))
    tpm = CountField(label=_("Tokens per minute"))
    concurrency = CountField(label=_("Requests at once"))
    field_order = ("name", "cap", "cap_period")

    name_help = _("For you alone, to remember what the key is for.")
    cap_help = _("The most this key may spend. You can change it at any time. Leave empty for no cap.")

    def __init__(
        self,
        data: Any = None,
        *,
        models: Iterable[str],
        name: str = "",
        rules: KeyRules | None = None,
        cap: BudgetReport | None = None,
    ) -> None:
        self.rules = rules or KeyRules()
        super().__init__(data, name=name, cap=cap, initial=_initial(self.rules))
        names = sorted({*models, *self.rules.allowed_models})
        self.fields["allowed_models"].choices = [(each, each) for each in names]  # type: ignore[attr-defined]
        if self.rules.expires_at is not None:
            day = formats.datetime_text(self.rules.expires_at, language=get_language())
            lives = [(KEEP, gettext("Unchanged: %(day)s") % {"day": day}), *LIVES]
            self.fields["life"].choices = lives  # type: ignore[attr-defined]

    @property
    def shows_options(self) -> bool:
        """Whether more than the name was filled in, so that nothing that matters is folded away."""
        filled = {*self.errors, *self.changed_data} if self.is_bound else set()
        return bool(filled - {"name", "token"})

    def clean_allowed_models(self) -> list[str]:
        chosen: list[str] = self.cleaned_data["allowed_models"]
        if len(chosen) > MODELS_MAX:
            raise forms.ValidationError(_("That is too many models. Tick none to allow all."))
        return chosen

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if cleaned.get("life") == ON_DAY and "last_day" in cleaned:
            if cleaned["last_day"] is None:
                self.add_error("last_day", _("Enter the last day on which the key works."))
            elif cleaned["last_day"] < timezone.localdate():
                self.add_error("last_day", _("This day has passed."))
        return cleaned

    def wanted_rules(self) -> KeyRules:
        """What a valid form asks for, without its budget."""
        cleaned = self.cleaned_data
        return KeyRules(
            expires_at=self._expires_at(),
            allowed_models=tuple(cleaned["allowed_models"]),
            allowed_networks=cleaned["allowed_networks"],
            rpm=cleaned["rpm"],
            tpm=cleaned["tpm"],
            concurrency=cleaned["concurrency"],
        )

    def _expires_at(self) -> datetime | None:
        life = self.cleaned_data["life"] or self.initial["life"]
        if life == NEVER:
            return None
        if life == KEEP:
            return self.rules.expires_at
        if life == ON_DAY:  # the day is meant whole
            next_day = self.cleaned_data["last_day"] + timedelta(days=1)
            return datetime.combine(next_day, time.min, tzinfo=timezone.get_current_timezone())
        return timezone.now() + timedelta(days=int(life))


class RotateForm(forms.Form):
    grace = forms.ChoiceField(
        label=_("When does the old key stop working?"),
        choices=GRACES,
        initial="24",
        widget=forms.RadioSelect,
    )
    token = forms.UUIDField(widget=forms.HiddenInput, initial=uuid.uuid4)

    def wanted_grace(self) -> timedelta:
        return timedelta(hours=int(self.cleaned_data["grace"]))


def _initial(rules: KeyRules) -> dict[str, Any]:
    return {
        "life": NEVER if rules.expires_at is None else KEEP,
        "allowed_models": list(rules.allowed_models),
        "allowed_networks": "\n".join(rules.allowed_networks),
        "rpm": figure(rules.rpm),
        "tpm": figure(rules.tpm),
        "concurrency": figure(rules.concurrency),
    }
