"""The cost calculator of the models page: the figures that are typed, in the digits of any keyboard, and their cost."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django import forms
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

from accounts.shared.formats import number_text
from proxy.catalogue.prices import pricing
from proxy.catalogue.served import ServedModel

IGNORED = re.compile(r"[,٬،_'’%٪\s\u200b-\u200f\u202a-\u202e\u2066-\u2069\ufeff]")
FIGURE_MAX = 1_000_000_000
EXAMPLE = {"input": 1_000, "cached": 0, "output": 500, "requests": 1_000}


@dataclass(frozen=True, slots=True)
class Cost:
    """In micro-Rial: of one request, and of all of them."""

    request_micro: int
    total_micro: int


class FigureField(forms.CharField):
    """A whole number from `minimum` to `maximum`, with the digits and separators of any keyboard."""

    def __init__(self, *, minimum: int, maximum: int, **kwargs: Any) -> None:
        widget = forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off", "dir": "ltr"})
        super().__init__(max_length=40, widget=widget, **kwargs)
        self.minimum, self.maximum = minimum, maximum

    def clean(self, value: Any) -> int:
        figure = IGNORED.sub("", super().clean(value))
        if not figure.isdecimal():
            raise forms.ValidationError(_("Enter a whole number, for example 1,000."))
        number = int(figure)  # reads the digits of every script
        if number < self.minimum:
            raise forms.ValidationError(_("This figure is too small."))
        if number > self.maximum:
            raise forms.ValidationError(_("This figure is too large."))
        return number


class CostForm(forms.Form):
    """Tokens are those of one request; `cached` is the share of its input in percent."""

    model = forms.ChoiceField(label=_("Model"))
    input = FigureField(label=_("Input tokens per request"), minimum=0, maximum=FIGURE_MAX)
    cached = FigureField(label=_("Share of them from the cache, in percent"), minimum=0, maximum=100)
    output = FigureField(label=_("Output tokens per request"), minimum=0, maximum=FIGURE_MAX)
    requests = FigureField(label=_("Number of requests"), minimum=1, maximum=FIGURE_MAX)

    def __init__(self, given: dict[str, str], *, models: Sequence[ServedModel]) -> None:
        """Figures that are not given are those of an example. `models` is not empty."""
        self._models = {model.model_id: model for model in models}
        example = {name: number_text(figure, language=get_language()) for name, figure in EXAMPLE.items()}
        super().__init__({"model": models[0].model_id, **example, **given})
        choices = self.fields["model"]
        assert isinstance(choices, forms.ChoiceField)
        choices.choices = [(model_id, model_id) for model_id in self._models]

    def cost(self) -> Cost | None:
        """None where a figure is wrong."""
        if not self.is_valid():
            return None
        asked = self.cleaned_data
        usage = pricing.Usage(asked["input"], asked["output"], asked["input"] * asked["cached"] // 100)
        one = pricing.cost_micro(usage, self._models[asked["model"]].price)
        return Cost(request_micro=one, total_micro=one * asked["requests"])
