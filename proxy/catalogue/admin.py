"""The admin's side of the catalogue: models with routes and prices, upstreams.

Every change here is in the audit log; an upstream's key goes in and never comes out.
"""

from collections.abc import Collection
from typing import Any
from urllib.parse import urlencode

from auditlog.registry import auditlog
from django import forms
from django.contrib import admin
from django.core.exceptions import ValidationError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html
from django.utils.translation import gettext_lazy as _

from accounts.audit import HIDDEN
from accounts.shared.fields import LTR
from accounts.shared.outbound import UnsafeURL
from proxy.catalogue import quirks, secrets
from proxy.catalogue.endpoints import DEFAULT_ENDPOINTS, ENDPOINTS, PROTOCOLS, needs, unserved
from proxy.catalogue.models import LanguageModel, Route, Upstream
from proxy.catalogue.price_admin import PriceInline, let_wait
from proxy.catalogue.price_form import PriceFormSet
from proxy.catalogue.prices import price_entry, upstream_price
from proxy.catalogue.prices.models import ExchangeRate, Price, PriceChange
from proxy.catalogue.prices.upstream_price import DOLLARS, RIAL, UpstreamPrice
from proxy.catalogue.upstream_url import origin, validate_upstream_url

auditlog.register(LanguageModel)
auditlog.register(ExchangeRate)
auditlog.register(Price)
auditlog.register(PriceChange)
auditlog.register(Route)
auditlog.register(Upstream, mask_fields=["api_key_encrypted"], mask_callable="accounts.audit.hidden")


class Names(forms.MultipleChoiceField):
    """A column that is a list of some of these names, kept in their order."""

    def __init__(self, names: Collection[str], **kwargs: Any) -> None:
        super().__init__(
            choices=[(name, name) for name in names], widget=forms.CheckboxSelectMultiple(attrs=LTR), **kwargs
        )
        self.names = names

    def clean(self, value: Any) -> list[str]:
        chosen = super().clean(value)
        return [name for name in self.names if name in chosen]

    def has_changed(self, initial: Any, data: Any) -> bool:
        return set(initial or ()) != set(data or ())


class RouteForm(forms.ModelForm):  # type: ignore[type-arg]
    """A route, and what its upstream charges, one price per line as `add_model --price` takes them."""

    protocols = Names(PROTOCOLS, label=_("protocols"), help_text=Route._meta.get_field("protocols").help_text)
    upstream_currency = forms.ChoiceField(
        label=_("upstream's currency"),
        required=False,
        choices=[(DOLLARS, _("US dollars")), (RIAL, _("Rial"))],
    )
    upstream_price_lines = forms.CharField(
        label=_("upstream's prices"),
        required=False,
        widget=forms.Textarea(attrs={"rows": 3, "cols": 24, **LTR}),
        help_text=_(
            "One price per line, per million or for one, for example: input=2.5, output=10, input=5@200000. Every "
            "usage record then keeps what it cost you."
        ),
    )

    class Meta:
        model = Route
        fields = ("upstream", "upstream_model", "protocols", "priority", "weight")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            present = upstream_price.read(self.instance.upstream_prices)
        except ValueError:  # to be entered anew
            present = None
        if present is not None:
            self.initial["upstream_currency"] = present.currency
            self.initial["upstream_price_lines"] = price_entry.lines(
                present.price, in_dollars=present.currency == DOLLARS
            )

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        lines = [line for line in data.get("upstream_price_lines", "").splitlines() if line.strip()]
        currency = data.get("upstream_currency") or DOLLARS
        amount_of = price_entry.micro_dollars if currency == DOLLARS else price_entry.whole_rial
        try:
            price = price_entry.price_list(lines, flags={}, amount_of=amount_of) if lines else None
        except ValueError:
            self.add_error(
                "upstream_price_lines",
                _(
                    "Enter one price per line, such as input=2.5 or input=5@200000, and one of them for input."
                ),
            )
            return data
        self.instance.upstream_prices = (
            None if price is None else upstream_price.stored(UpstreamPrice(currency, price))
        )
        return data


class RouteFormSet(forms.BaseInlineFormSet):  # type: ignore[type-arg]  # likewise
    def clean(self) -> None:
        """Refuses routes that cannot serve an endpoint of the model; one without routes is not on sale yet."""
        super().clean()
        kept = [form.cleaned_data for form in self.forms if form.is_valid() and form.cleaned_data]
        routes = [route["protocols"] for route in kept if not route.get("DELETE")]
        if routes and (missing := unserved(self.instance.endpoints, routes)):
            raise ValidationError(
                _("No route can serve %(endpoints)s: %(needs)s."),
                params={"endpoints": ", ".join(missing), "needs": needs(missing)},
            )


class RouteInline(admin.StackedInline):  # type: ignore[type-arg]  # not generic at run time
    model = Route
    form = RouteForm
    formset = RouteFormSet
    fields = (
        ("upstream", "upstream_model"),
        "protocols",
        ("priority", "weight"),
        ("upstream_currency", "upstream_price_lines"),
    )
    extra = 0


class LanguageModelForm(forms.ModelForm):  # type: ignore[type-arg]
    endpoints = Names(
        ENDPOINTS,
        label=_("endpoints"),
        help_text=LanguageModel._meta.get_field("endpoints").help_text,
        initial=DEFAULT_ENDPOINTS,
    )


@admin.register(LanguageModel)
class LanguageModelAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = LanguageModelForm
    list_display = ("model_id", "description", "context_tokens", "max_output_tokens", "is_active")
    list_filter = ("is_active",)
    search_fields = ("model_id",)
    inlines = (RouteInline, PriceInline)
    fieldsets = (
        (
            None,
            {"fields": ["model_id", "description", "description_fa", "owned_by", "is_active", "whole_list"]},
        ),
        (
            _("What it accepts and produces"),
            {
                "fields": [
                    "endpoints",
                    "context_tokens",
                    "max_output_tokens",
                    ("takes_images", "takes_audio", "takes_files", "takes_tools"),
                ]
            },
        ),
        (
            _("What is held for a request"),
            {
                "description": _("Safe for all known tokenizers and templates; rarely needs changing."),
                "fields": [
                    "media_part_tokens",
                    "template_tokens",
                    "tokens_per_100_bytes",
                    "tools_tokens_per_100_bytes",
                    "output_slice_tokens",
                ],
            },
        ),
        (
            _("What upstreams reported beyond its limits"),
            {"fields": ["learned_context_tokens", "learned_output_tokens", "learned_hidden_tokens"]},
        ),
    )

    readonly_fields = ("whole_list",)

    @admin.display(description=_("price list"))
    def whole_list(self, model: LanguageModel) -> str:
        if model.pk is None:
            return "-"
        query, path = {"model": model.pk}, reverse("admin:proxy_price_add")
        return format_html(
            '<a href="{path}?{toman}">{in_toman}</a> · <a href="{path}?{dollars}">{in_dollars}</a>',
            path=path,
            toman=urlencode(query),
            in_toman=_("Change all prices"),
            dollars=urlencode({**query, "basis": "dollars"}),
            in_dollars=_("Set them in US dollars"),
        )

    def has_delete_permission(self, request: HttpRequest, obj: LanguageModel | None = None) -> bool:
        return False  # its prices were charged: it is taken off sale instead

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:
        super().save_formset(request, form, formset, change)
        if isinstance(formset, PriceFormSet):
            for price in formset.waiting():
                let_wait(self, request, price)


class UpstreamForm(forms.ModelForm):  # type: ignore[type-arg]
    api_key = forms.CharField(
        label=_("API key"),
        required=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
        help_text=_("Stored encrypted and never shown. Leave empty to keep the current one."),
    )
    no_api_key = forms.BooleanField(
        label=_("Needs no API key"), required=False, help_text=_("Deletes the stored one.")
    )
    # (URL, error) of what was posted; UpstreamAdmin fills it in.
    checked_url: tuple[str, str] = ("", "")

    class Meta:
        model = Upstream
        fields = (
            "name",
            "base_url",
            "api_key",
            "no_api_key",
            "kind",
            "limit_field",
            "strip_fields",
            "max_in_flight",
            "on_disconnect",
            "is_active",
        )

    def clean_base_url(self) -> str:
        url, error = self.checked_url
        if error:
            raise ValidationError(error)
        return url

    def clean(self) -> dict[str, Any]:
        data: dict[str, Any] = super().clean() or self.cleaned_data
        key, is_keyless = data.get("api_key"), data.get("no_api_key")
        if key and is_keyless:
            self.add_error("no_api_key", _("Enter a key or tick that none is needed, not both."))
        is_elsewhere = "base_url" in data and origin(data["base_url"]) != origin(self.instance.base_url)
        if self.instance.api_key_encrypted and is_elsewhere and not key and not is_keyless:
            self.add_error(
                "api_key", _("The stored key is never sent to another server. Enter the key for this one.")
            )
        return data

    def clean_strip_fields(self) -> str:
        text: str = self.cleaned_data["strip_fields"]
        if unfit := quirks.unfit_fields(text):
            raise ValidationError(_("These cannot be left out: %s") % ", ".join(unfit))
        return ", ".join(quirks.field_names(text))

    def save(self, commit: bool = True) -> Upstream:
        if self.cleaned_data["api_key"]:
            self.instance.api_key_encrypted = secrets.encrypt(self.cleaned_data["api_key"])
        elif self.cleaned_data["no_api_key"]:
            self.instance.api_key_encrypted = b""
        upstream: Upstream = super().save(commit)
        return upstream


@admin.register(Upstream)
class UpstreamAdmin(admin.ModelAdmin):  # type: ignore[type-arg]
    form = UpstreamForm
    list_display = ("name", "base_url", "kind", "masked_key", "max_in_flight", "on_disconnect", "is_active")

    @admin.display(description=_("API key"))
    def masked_key(self, upstream: Upstream) -> str:
        return HIDDEN if upstream.api_key_encrypted else "—"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        # The check asks the resolver, so it comes before Django opens its transaction.
        if request.method == "POST":
            request.META["hamiran.checked_url"] = _checked(request.POST.get("base_url", ""))
        return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(
        self, request: HttpRequest, obj: Upstream | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.checked_url = request.META.get("hamiran.checked_url", ("", ""))
        return form


def _checked(url: str) -> tuple[str, str]:
    try:
        return validate_upstream_url(url.strip()), ""
    except UnsafeURL as error:
        return "", str(error)
