"""People in the admin: found by number or key, and one page with all that there is about one."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from django.utils.translation import gettext_lazy as _

from accounts.admin import UserAdmin, has_number
from accounts.models import User
from keys import hints
from proxy.dashboard.people import person

admin.site.unregister(User)


@admin.register(User)
class PersonAdmin(UserAdmin):
    """`accounts` knows neither keys nor money, so what joins them stands here."""

    change_form_template = "admin/accounts/user/person.html"
    search_help_text = _("A mobile number or part of one, the last four of a key, or a key's number")

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """A search that finds one person goes there."""
        if request.method == "GET" and set(request.GET) == {"q"} and self.has_view_permission(request):
            found, _duplicates = self.get_search_results(
                request, self.get_queryset(request), request.GET["q"]
            )
            people = list(found.order_by("pk").values_list("pk", flat=True)[:2])
            if len(people) == 1 and request.GET["q"].strip():
                return HttpResponseRedirect(reverse("admin:accounts_user_change", args=people))
        return super().changelist_view(request, extra_context)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[User], search_term: str
    ) -> tuple[QuerySet[User], bool]:
        if not search_term.strip():
            return queryset, False
        owners = hints.owners(search_term) if request.user.has_perm("keys.view_apikey") else []
        return queryset.filter(Q(pk__in=owners) | has_number(search_term)), False

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        user = context.get("original")
        if isinstance(user, User):
            context |= {
                "person": user,
                "sections": list(person.sections(user, may=request.user.has_perm)),
                "audit_url": person.audit_url(user)
                if request.user.has_perm("auditlog.view_logentry")
                else "",
                "may_block": self.has_block_permission(request),
                "may_sign_out": self.has_end_sessions_permission(request),
                "may_note": self.has_note_permission(request),
                "may_adjust": request.user.has_perm("wallet.add_adjustment"),
            }
        return super().render_change_form(request, context, *args, **kwargs)
