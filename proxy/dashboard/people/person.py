"""What an admin reads on the page of a person: the last rows of each kind, each kind with the right that it needs.

The parts stand here in the page's order. Every one is one query that an index bounds, however much there is of it.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.utils import timezone
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from accounts import user_agents
from accounts.channel_models import BotChat
from accounts.models import Session, User
from accounts.note_models import UserNote
from accounts.signals.models import WebhookEndpoint
from keys import reading
from keys.models import APIKey
from keys.reading import State
from proxy.dashboard.people.parts import (
    SHOWN,
    Part,
    Row,
    Rows,
    Section,
    list_url,
    moment_text,
    no_list,
    number_text,
    row,
    row_url,
)
from proxy.usage import periods, sums
from proxy.usage.figures import NONE, Figures
from wallet.ledger.models import Wallet
from wallet.payments.invoice_models import Invoice
from wallet.payments.models import TopUp
from wallet.statements import lines
from wallet.wording import toman

MODELS_MAX = 1_000  # more than any account uses
PARTS: list[Part] = []


def part(
    name: str,
    title: Promise,
    columns: tuple[Promise, ...],
    *,
    permission: str,
    all_url: Callable[[User], str] = no_list,
) -> Callable[[Rows], Rows]:
    def add(rows: Rows) -> Rows:
        PARTS.append(Part(name, title, columns, permission, all_url, rows))
        return rows

    return add


def sections(user: User, *, may: Callable[[str], bool]) -> Iterator[Section]:
    """Those whose right `may` says the admin has."""
    return (each.of(user) for each in PARTS if may(each.permission))


def audit_url(user: User) -> str:
    """What admins did with this account."""
    kind = ContentType.objects.get_for_model(User).pk
    return list_url("auditlog_logentry", resource_type=kind, object_id=user.pk)


@part(
    "notes",
    _("Notes"),
    (_("Time"), _("What"), _("Text"), _("Author")),
    permission="accounts.view_usernote",
    all_url=lambda user: list_url("accounts_usernote", user__id__exact=user.pk),
)
def _notes(user: User) -> Iterator[Row]:
    notes = UserNote.objects.filter(user_id=user.pk).select_related("author").order_by("-id")[:SHOWN]
    for note in notes:
        yield row(moment_text(note.created_at), note.get_kind_display(), note.text, str(note.author))


@part(
    "balance",
    _("Balance"),
    (_("Available"), _("Posted"), _("Held"), _("Frozen because")),
    permission="wallet.view_wallet",
    all_url=lambda user: list_url("wallet_hold", wallet__exact=user.pk),
)
def _balance(user: User) -> Iterator[Row]:
    for wallet in Wallet.objects.filter(pk=user.pk):
        frozen = wallet.frozen_because if wallet.frozen_at else "-"
        amounts = (wallet.available_micro, wallet.posted_micro, wallet.held_micro)
        yield row(*map(toman, amounts), frozen, url=row_url("wallet_wallet", user.pk))


@part(
    "statement",
    _("Statement"),
    (_("Time"), _("What for"), _("Amount"), _("Balance")),
    permission="wallet.view_journalentry",
    all_url=lambda user: list_url("wallet_journalentry", wallet__exact=user.pk),
)
def _statement(user: User) -> Iterator[Row]:
    for line in lines.page(user_id=user.pk, size=SHOWN).rows:
        yield row(
            moment_text(line.created_at),
            str(line.kind.label),
            toman(line.amount_micro),
            toman(line.balance_micro),
            url=row_url("wallet_journalentry", line.entry_id),
        )


@part(
    "usage",
    _("Usage of the last 30 days"),
    (_("Model"), _("Requests"), _("Failed"), _("Tokens in"), _("Tokens out"), _("Cost")),
    permission="proxy.view_usagerecord",
    all_url=lambda user: list_url("proxy_usagerecord", user_id=user.pk),
)
def _usage(user: User) -> Iterator[Row]:
    period = periods.preset("30d", now=timezone.now())
    groups = ("model",)
    statement = sums.statement(
        user_id=user.pk, since=period.since, until=period.until, groups=groups, after=None, limit=MODELS_MAX
    )
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        used = [sums.found(each, groups) for each in cursor.fetchall()]
    used.sort(key=lambda each: (-each.figures.cost_micro, each.groups))
    for each in used[:SHOWN]:
        yield _figures(each.groups[0], each.figures)
    if used:
        yield _figures(gettext("All models"), sum((each.figures for each in used), NONE))


def _figures(name: str, figures: Figures) -> Row:
    numbers = (figures.requests, figures.errors, figures.prompt_tokens, figures.completion_tokens)
    return row(name, *map(number_text, numbers), toman(figures.cost_micro))


@part(
    "keys",
    _("API keys"),
    (_("Name"), _("Key"), _("Number"), _("State"), _("Created"), _("Last used")),
    permission="keys.view_apikey",
    all_url=lambda user: list_url("keys_apikey", user__id__exact=user.pk),
)
def _keys(user: User) -> Iterator[Row]:
    now = timezone.now()
    works = reading.working(now)
    own = APIKey.objects.filter(user_id=user.pk).order_by("-id")
    for key in [*own.filter(works)[:SHOWN], *own.exclude(works)[: SHOWN // 2]]:  # those that work come first
        yield row(
            key.name,
            f"hm-…{key.last_four}",
            str(key.pk),
            _key_state(key, now),
            moment_text(key.created_at),
            moment_text(key.last_used_at),
            url=row_url("keys_apikey", key.pk),
        )


def _key_state(key: APIKey, now: datetime) -> str:
    labels = {
        State.WORKING: gettext("works"),
        State.EXPIRED: gettext("expired"),
        State.REVOKED: gettext("revoked"),
    }
    if key.revoked_at is not None:
        return labels[State.REVOKED]
    return labels[State.EXPIRED if key.expires_at is not None and key.expires_at <= now else State.WORKING]


@part(
    "sessions",
    _("Signed in"),
    (_("Browser"), _("Address"), _("Signed in at"), _("Last seen")),
    permission="accounts.view_user",
)
def _sessions(user: User) -> Iterator[Row]:
    living = Session.objects.filter(user_id=user.pk, expire_date__gt=timezone.now())
    for session in living.order_by("-last_seen_at")[:SHOWN]:
        yield row(
            _browser(session.user_agent),
            session.address or "-",
            moment_text(session.signed_in_at),
            moment_text(session.last_seen_at),
        )


def _browser(header: str) -> str:
    browser = user_agents.read(header)
    return " · ".join(filter(None, (browser.name, browser.system))) or "-"


@part(
    "topups",
    _("Top-ups"),
    (_("Time"), _("Amount"), _("State"), _("Gateway"), _("Reference")),
    permission="wallet.view_topup",
    all_url=lambda user: list_url("wallet_topup", user__id__exact=user.pk),
)
def _topups(user: User) -> Iterator[Row]:
    for topup in TopUp.objects.filter(user_id=user.pk).order_by("-created_at")[:SHOWN]:
        yield row(
            moment_text(topup.created_at),
            toman(topup.amount_micro),
            topup.get_status_display(),
            topup.gateway,
            topup.ref_id or "-",
            url=row_url("wallet_topup", topup.pk),
        )


@part(
    "invoices",
    _("Invoices"),
    (_("Number"), _("Issued"), _("Total")),
    permission="wallet.view_invoice",
    all_url=lambda user: list_url("wallet_invoice", q=user.mobile),
)
def _invoices(user: User) -> Iterator[Row]:
    found = Invoice.objects.filter(topup__user_id=user.pk).order_by("-topup__created_at")[:SHOWN]
    for invoice in found:
        yield row(
            number_text(invoice.pk),
            moment_text(invoice.issued_at),
            toman(invoice.total_micro),
            url=row_url("wallet_invoice", invoice.pk),
        )


@part(
    "webhooks",
    _("Webhooks"),
    (_("Address"), _("State"), _("Failing since")),
    permission="accounts.view_webhookendpoint",
    all_url=lambda user: list_url("accounts_webhookendpoint", user__id__exact=user.pk),
)
def _webhooks(user: User) -> Iterator[Row]:
    for hook in WebhookEndpoint.objects.filter(user_id=user.pk).order_by("-id")[:SHOWN]:
        yield row(
            hook.shown_address,
            hook.get_state_display(),
            moment_text(hook.failing_since),
            url=row_url("accounts_webhookendpoint", hook.pk),
        )


@part(
    "channels",
    _("Messages"),
    (_("Channel"), _("State"), _("Connected at")),
    permission="accounts.view_notice",
    all_url=lambda user: list_url("accounts_notice", user__id__exact=user.pk),
)
def _channels(user: User) -> Iterator[Row]:
    yield row(gettext("SMS"), _connection(user.gets_sms), "-")
    for chat in BotChat.objects.filter(user_id=user.pk).order_by("channel"):
        state = _connection(chat.chat_id is not None)
        yield row(chat.get_channel_display(), state, moment_text(chat.connected_at))


def _connection(is_connected: bool) -> str:
    return gettext("connected") if is_connected else gettext("ended")
