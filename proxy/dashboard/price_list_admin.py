"""Price lists in the admin: a whole list in one form, and what it would have done to last week's usage."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from proxy.catalogue import announcements, offers, price_list_form, rates
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.price_admin import AddOnly, let_wait
from proxy.catalogue.price_form import ShownPrices
from proxy.catalogue.price_list_form import DollarListForm, PriceListForm
from proxy.catalogue.prices import dollar_basis
from proxy.catalogue.prices.models import Price
from proxy.catalogue.prices.price_wording import price_text
from proxy.catalogue.served import quote
from proxy.usage import repricing


@admin.register(Price)
class PriceAdmin(AddOnly, ShownPrices, admin.ModelAdmin):  # type: ignore[type-arg]
    """A list is never edited: the form that begins with the present one (`?model=`) makes the next."""

    list_display = shown = (
        "model",
        "valid_from",
        "input_toman",
        "output_toman",
        "cached_input_toman",
        "further_prices",
        "in_dollars",
    )
    list_filter = ("model",)
    list_select_related = ("model",)

    def get_fieldsets(self, request: HttpRequest, obj: Price | None = None) -> Any:
        if obj is not None:
            return [(None, {"fields": self.shown})]
        return price_list_form.fieldsets(in_dollars=_in_dollars(request))

    def get_form(
        self, request: HttpRequest, obj: Price | None = None, change: bool = False, **kwargs: Any
    ) -> Any:
        form = DollarListForm if obj is None and _in_dollars(request) else PriceListForm
        return super().get_form(request, obj, change=change, **{"form": form, **kwargs})

    def get_readonly_fields(self, request: HttpRequest, obj: Price | None = None) -> Any:
        return () if obj is None else self.shown

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial: dict[str, Any] = super().get_changeform_initial_data(request)
        model_id = request.GET.get("model", "")
        if model_id.isdecimal() and len(model_id) < 19:
            model = LanguageModel(pk=int(model_id))
            current = offers.current_price(model=model, now=timezone.now())
            basis = None if current is None else dollar_basis.read(current.dollar_basis)
            if _in_dollars(request):
                initial |= {} if basis is None else price_list_form.initial_in_dollars(basis)
            elif current is not None:
                initial |= price_list_form.initial(quote(current))
        return initial

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        form = context["adminform"].form
        if (
            isinstance(form, PriceListForm)
            and form.is_bound
            and form.is_preview
            and form.price
            and not form.errors
        ):
            model = form.cleaned_data["model"]
            context["price"] = price_text(form.price)
            context["effect"] = repricing.last_week(
                model_id=model.model_id, price=form.price, now=timezone.now()
            )
        return super().render_change_form(request, context, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Price, form: PriceListForm, change: bool) -> None:
        if form.waits:
            let_wait(self, request, obj)
        else:
            basis = dollar_basis.read(obj.dollar_basis)
            if basis is not None:
                LanguageModel.objects.select_for_update(no_key=True).get(pk=obj.model_id)
                rates.check(basis, obj.valid_from)
            super().save_model(request, obj, form, change)
            announcements.announce(obj)
            rates.follow(obj)

    def log_addition(self, request: HttpRequest, obj: Price, message: Any) -> Any:
        return super().log_addition(request, obj, message) if obj.pk else None

    def response_add(
        self, request: HttpRequest, obj: Price, post_url_continue: str | None = None
    ) -> HttpResponse:
        if obj.pk:
            return super().response_add(request, obj, post_url_continue)
        return self.response_post_save_add(request, obj)  # says nothing of a price that was added


def _in_dollars(request: HttpRequest) -> bool:
    return request.GET.get("basis") == "dollars"
