"""What admins may do, by role: groups of rights that a superuser gives to people under "Users" in the admin.

A role is made by a migration of this app, and made anew by another one when this table changes. What every role may
open is in tests/config/test_roles.py.
"""

from collections.abc import Iterable

from django.apps import apps
from django.contrib.auth.management import create_permissions
from django.contrib.auth.models import Group, Permission
from django.db.models import Q

OUR_APPS = ("config", "accounts", "keys", "wallet", "proxy")

PEOPLE = (
    "accounts.view_user",
    "accounts.view_usernote",
    "accounts.add_usernote",
    "accounts.view_tier",
    "accounts.view_tiermodellimit",
    "accounts.view_notice",
    "keys.view_apikey",
    "keys.view_limitoverride",
    "keys.view_overridemodellimit",
    "wallet.view_wallet",
    "wallet.view_journalentry",
    "wallet.view_hold",
    "wallet.view_budget",
    "wallet.view_topup",
    "wallet.view_invoice",
    "wallet.view_promoredemption",
    "proxy.view_usagerecord",
)
# What was done with rows that they may see (accounts.audit_admin).
DONE = ("auditlog.view_logentry",)
ON_SALE = ("proxy.view_languagemodel", "proxy.view_price", "proxy.view_exchangerate")

ROLES: dict[str, tuple[str, ...]] = {
    # Reads what a customer asks about, blocks accounts, signs people out, revokes keys; moves no money.
    "support": (
        *PEOPLE,
        *ON_SALE,
        *DONE,
        "accounts.block_user",
        "accounts.end_user_sessions",
        "accounts.view_challenge",
        "accounts.view_numberchange",
        "accounts.add_numberchange",
        "accounts.view_webhookendpoint",
        "accounts.view_webhookdelivery",
        "config.view_taskrun",
        "keys.change_apikey",
    ),
    # Corrections, payments, invoices, promo codes; above its limit somebody else has to approve.
    "finance": (
        *PEOPLE,
        *ON_SALE,
        *DONE,
        "config.view_proof",
        "wallet.view_adjustment",
        "wallet.add_adjustment",
        "wallet.approve_adjustment",
        "wallet.view_promocode",
        "wallet.add_promocode",
        "wallet.change_promocode",
        "wallet.change_topup",
        "wallet.view_vatrate",
        "wallet.add_vatrate",
        "wallet.view_sellerdetails",
        "wallet.add_sellerdetails",
        "wallet.change_sellerdetails",
        "wallet.view_signupcreditday",
        "proxy.view_routesales",
        "proxy.view_customersales",
    ),
    # Models, routes, upstreams, prices and rates; sees use, what it earns by model, and nobody's money.
    "catalogue": (
        *ON_SALE,
        *DONE,
        "proxy.add_languagemodel",
        "proxy.change_languagemodel",
        "proxy.view_route",
        "proxy.add_route",
        "proxy.change_route",
        "proxy.delete_route",
        "proxy.view_upstream",
        "proxy.add_upstream",
        "proxy.change_upstream",
        "proxy.add_price",
        "proxy.add_exchangerate",
        "proxy.view_pricechange",
        "proxy.approve_pricechange",
        "proxy.view_usagerecord",
        "proxy.view_routesales",
    ),
}
OWNER = "owner"  # everything of ours; groups themselves stay with superusers


def make(names: Iterable[str] = (*ROLES, OWNER)) -> None:
    """Makes these groups, or gives them exactly the rights that they have here."""
    for label in (*OUR_APPS, "auditlog", "axes"):
        create_permissions(apps.get_app_config(label), verbosity=0)
    for name in names:
        group, _made = Group.objects.get_or_create(name=name)
        group.permissions.set(_permissions(name))


def _permissions(name: str) -> Iterable[Permission]:
    found = Permission.objects.select_related("content_type")
    if name == OWNER:
        return found.filter(
            Q(content_type__app_label__in=OUR_APPS) | Q(codename__in=("view_logentry", "view_accessattempt"))
        )
    wanted = Q()
    for each in ROLES[name]:
        label, _dot, codename = each.partition(".")
        wanted |= Q(content_type__app_label=label, codename=codename)
    return found.filter(wanted)
