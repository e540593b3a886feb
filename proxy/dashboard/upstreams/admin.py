"""An upstream's page in the admin, with what `catalogue` does not know: which of its models rest, and a test of it."""

import contextlib
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import get_language, gettext
from django.utils.translation import gettext_lazy as _

from accounts import audit
from accounts.shared import formats
from accounts.shared.outbound import UnsafeURL
from proxy.catalogue import quirks, secrets
from proxy.catalogue.admin import UpstreamAdmin
from proxy.catalogue.models import Route, Upstream
from proxy.catalogue.served import served_route
from proxy.dashboard.upstreams import probe
from proxy.dashboard.upstreams.probe import Outcome
from proxy.upstreams import resting

admin.site.unregister(Upstream)


@dataclass(frozen=True, slots=True)
class ShownRest:
    """`until`: None where it is being tried again."""

    model: str
    until: datetime | None
    why: str


class ProbeForm(forms.Form):
    """Which model is asked for, in which protocol."""

    what = forms.ChoiceField(label=_("model and protocol"))

    def __init__(self, *args: Any, upstream: Upstream, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.routes = {
            f"{route.pk}:{protocol}": (route, protocol)
            for route in Route.objects.filter(upstream=upstream).select_related("model", "upstream")
            for protocol in route.protocols
            if protocol in probe.REQUESTS
        }
        field = self.fields["what"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (value, f"{route.model} · {protocol}") for value, (route, protocol) in self.routes.items()
        ]

    @property
    def chosen(self) -> tuple[Route, str]:
        return self.routes[self.cleaned_data["what"]]


@admin.register(Upstream)
class UpstreamPageAdmin(UpstreamAdmin):
    change_form_template = "admin/proxy/upstream/page.html"

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<int:pk>/test/", view(self.test_view), name="proxy_upstream_test"),
            path("<int:pk>/wake/", view(self.wake_view), name="proxy_upstream_wake"),
            *super().get_urls(),
        ]

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        upstream = context.get("original")
        if isinstance(upstream, Upstream):
            try:
                context["rests"] = _rests_of(upstream)
            except resting.Unknown:
                context["rests_unknown"] = True
        return super().render_change_form(request, context, *args, **kwargs)

    def test_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Shows what can be tested; a POST calls the upstream."""
        upstream = self._upstream(request, pk)
        form = ProbeForm(request.POST or None, upstream=upstream)
        outcome: Outcome | None = None
        if request.method == "POST" and form.is_valid():
            outcome = self._test(request, upstream, form)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Test of %(upstream)s") % {"upstream": upstream},
            "opts": self.opts,
            "original": upstream,
            "form": form,
            "outcome": outcome,
        }
        return TemplateResponse(request, "admin/proxy/upstream/test.html", context)

    def wake_view(self, request: HttpRequest, pk: int) -> HttpResponse:
        """Ends the rest of a model."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        upstream, model = self._upstream(request, pk), request.POST.get("model", "")
        try:
            ended = resting.end((upstream.pk, model))
        except resting.Unknown:
            self.message_user(request, unknown(), messages.ERROR)
        else:
            if ended:
                audit.note(upstream, what=f"rest of {model}", before="resting", after="ended")
            said = gettext("The rest of %(model)s is over.") % {"model": model}
            self.message_user(request, said if ended else gettext("This model does not rest."))
        return HttpResponseRedirect(reverse("admin:proxy_upstream_change", args=[pk]))

    def _upstream(self, request: HttpRequest, pk: int) -> Upstream:
        upstream = Upstream.objects.filter(pk=pk).first()
        if not self.has_change_permission(request, upstream):
            raise PermissionDenied
        if upstream is None:
            raise Http404
        return upstream

    def _test(self, request: HttpRequest, upstream: Upstream, form: ProbeForm) -> Outcome | None:
        """The call, one at a time for each upstream; None where none was made, and the page says why."""
        row, protocol = form.chosen
        turn = f"hamiran:upstream-test:{upstream.pk}"
        try:
            if not resting.take_turn(turn, seconds=int(probe.PROBE_SECONDS) + 5):
                form.add_error(None, gettext("Another test of this upstream is under way."))
                return None
        except resting.Unknown:
            form.add_error(None, unknown())
            return None
        try:
            outcome = probe.run(served_route(row), protocol)
        except UnsafeURL as error:
            form.add_error(None, str(error))
            return None
        except (secrets.Undecryptable, quirks.UnknownKind):
            form.add_error(None, gettext("Its key cannot be decrypted, or its kind is unknown."))
            return None
        finally:
            with contextlib.suppress(resting.Unknown):  # then it ends by itself
                resting.give_back(turn)
        told = outcome.error or outcome.status
        audit.note(
            upstream, what="test call", after=f"{row.model} {protocol}: {told} in {outcome.total_ms} ms"
        )
        return outcome


def unknown() -> str:
    return gettext("Valkey is away; try again in a moment.")


def _rests_of(upstream: Upstream) -> list[ShownRest]:
    now, language = timezone.now(), get_language()
    shown = []
    for rest in resting.listing():
        if rest.upstream_id == upstream.pk:
            refusals = formats.number_text(rest.told.refusals, language=language)
            why = gettext("429 answers in a row: %(count)s.") % {"count": refusals}
            if rest.told.asked_seconds is not None:
                asked = formats.number_text(round(rest.told.asked_seconds), language=language)
                why += " " + gettext("The upstream asked for %(seconds)s seconds.") % {"seconds": asked}
            shown.append(ShownRest(rest.upstream_model, rest.until if rest.until > now else None, why))
    return shown
