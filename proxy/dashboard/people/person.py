"""What an admin reads on the page of a person: the last rows of each kind, each kind with the right that it needs.

Every part is one query that an index bounds, however much there is of it.
"""

from collections.abc import Callable, Iterator
from datetime import datetime

from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.utils import timezone
from django.utils.translation import gettext

from accounts import user_agents
from accounts.channel_models import BotChat
from accounts.models import Session, User
from accounts.note_models import UserNote
from accounts.signals.models import WebhookEndpoint
from keys import reading
from keys.models import APIKey
from keys.reading import State
from proxy.dashboard.people.parts import SHOWN, Row, Section, list_url, moment_text, number_text, row_url
from proxy.usage import periods, sums
from proxy.usage.figures import NONE, Figures
from wallet.ledger.models import Wallet
from wallet.payments.invoice_models import Invoice
from wallet.payments.models import TopUp
from wallet.statements import lines
from wallet.wording import toman

MODELS_MAX = 1_000  # more than any account uses


def sections(user: User, *, may: Callable[[str], bool]) -> Iterator[Section]:
    """Those whose right `may` says the admin has."""
    for permission, make in SECTIONS:
        if may(permission):
            yield make(user)


def audit_url(user: User) -> str:
    """What admins did with this account."""
    kind = ContentType.objects.get_for_model(User).pk
    return list_url("auditlog_logentry", resource_type=kind, object_id=user.pk)


def _balance(user: User) -> Section:
    wallet = Wallet.objects.filter(pk=user.pk).first()
    rows: tuple[Row, ...] = ()
    if wallet is not None:
        frozen = wallet.frozen_because if wallet.frozen_at else "-"
        amounts = (wallet.available_micro, wallet.posted_micro, wallet.held_micro)
        rows = (Row((*map(toman, amounts), frozen), row_url("wallet_wallet", user.pk)),)
    return Section(
        "balance",
        gettext("Balance"),
        (gettext("Available"), gettext("Posted"), gettext("Held"), gettext("Frozen because")),
        rows,
        list_url("wallet_hold", wallet__exact=user.pk),
    )


def _notes(user: User) -> Section:
    notes = UserNote.objects.filter(user_id=user.pk).select_related("author").order_by("-id")[:SHOWN]
    return Section(
        "notes",
        gettext("Notes"),
        (gettext("Time"), gettext("What"), gettext("Text"), gettext("Author")),
        tuple(
            Row((moment_text(note.created_at), note.get_kind_display(), note.text, str(note.author)))
            for note in notes
        ),
        list_url("accounts_usernote", user__id__exact=user.pk),
    )


def _statement(user: User) -> Section:
    found = lines.page(user_id=user.pk, size=SHOWN).rows
    return Section(
        "statement",
        gettext("Statement"),
        (gettext("Time"), gettext("What for"), gettext("Amount"), gettext("Balance")),
        tuple(
            Row(
                (
                    moment_text(row.created_at),
                    str(row.kind.label),
                    toman(row.amount_micro),
                    toman(row.balance_micro),
                ),
                row_url("wallet_journalentry", row.entry_id),
            )
            for row in found
        ),
        list_url("wallet_journalentry", wallet__exact=user.pk),
    )


def _usage(user: User) -> Section:
    period = periods.preset("30d", now=timezone.now())
    groups = ("model",)
    statement = sums.statement(
        user_id=user.pk, since=period.since, until=period.until, groups=groups, after=None, limit=MODELS_MAX
    )
    with connection.cursor() as cursor:
        cursor.execute(*statement)
        used = [sums.found(row, groups) for row in cursor.fetchall()]
    used.sort(key=lambda each: (-each.figures.cost_micro, each.groups))
    rows = [_figures(each.groups[0], each.figures) for each in used[:SHOWN]]
    if used:
        rows.append(_figures(gettext("All models"), sum((each.figures for each in used), NONE)))
    return Section(
        "usage",
        gettext("Usage of the last 30 days"),
        (
            gettext("Model"),
            gettext("Requests"),
            gettext("Failed"),
            gettext("Tokens in"),
            gettext("Tokens out"),
            gettext("Cost"),
        ),
        tuple(rows),
        list_url("proxy_usagerecord", user_id=user.pk),
    )


def _figures(name: str, figures: Figures) -> Row:
    numbers = (figures.requests, figures.errors, figures.prompt_tokens, figures.completion_tokens)
    return Row((name, *map(number_text, numbers), toman(figures.cost_micro)))


def _keys(user: User) -> Section:
    now = timezone.now()
    works = reading.working(now)
    own = APIKey.objects.filter(user_id=user.pk).order_by("-id")
    newest = [*own.filter(works)[:SHOWN], *own.exclude(works)[: SHOWN // 2]]  # those that work come first
    return Section(
        "keys",
        gettext("API keys"),
        (
            gettext("Name"),
            gettext("Key"),
            gettext("Number"),
            gettext("State"),
            gettext("Created"),
            gettext("Last used"),
        ),
        tuple(
            Row(
                (
                    key.name,
                    f"hm-…{key.last_four}",
                    str(key.pk),
                    _key_state(key, now),
                    moment_text(key.created_at),
                    moment_text(key.last_used_at),
                ),
                row_url("keys_apikey", key.pk),
            )
            for key in newest
        ),
        list_url("keys_apikey", user__id__exact=user.pk),
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


def _sessions(user: User) -> Section:
    living = Session.objects.filter(user_id=user.pk, expire_date__gt=timezone.now())
    return Section(
        "sessions",
        gettext("Signed in"),
        (gettext("Browser"), gettext("Address"), gettext("Signed in at"), gettext("Last seen")),
        tuple(
            Row(
                (
                    _browser(session.user_agent),
                    session.address or "-",
                    moment_text(session.signed_in_at),
                    moment_text(session.last_seen_at),
                )
            )
            for session in living.order_by("-last_seen_at")[:SHOWN]
        ),
    )


def _browser(header: str) -> str:
    browser = user_agents.read(header)
    return " · ".join(filter(None, (browser.name, browser.system))) or "-"


def _topups(user: User) -> Section:
    topups = TopUp.objects.filter(user_id=user.pk).order_by("-created_at")[:SHOWN]
    return Section(
        "topups",
        gettext("Top-ups"),
        (gettext("Time"), gettext("Amount"), gettext("State"), gettext("Gateway"), gettext("Reference")),
        tuple(
            Row(
                (
                    moment_text(topup.created_at),
                    toman(topup.amount_micro),
                    topup.get_status_display(),
                    topup.gateway,
                    topup.ref_id or "-",
                ),
                row_url("wallet_topup", topup.pk),
            )
            for topup in topups
        ),
        list_url("wallet_topup", user__id__exact=user.pk),
    )


def _invoices(user: User) -> Section:
    found = Invoice.objects.filter(topup__user_id=user.pk).order_by("-topup__created_at")[:SHOWN]
    return Section(
        "invoices",
        gettext("Invoices"),
        (gettext("Number"), gettext("Issued"), gettext("Total")),
        tuple(
            Row(
                (number_text(invoice.pk), moment_text(invoice.issued_at), toman(invoice.total_micro)),
                row_url("wallet_invoice", invoice.pk),
            )
            for invoice in found
        ),
        list_url("wallet_invoice", q=user.mobile),
    )


def _webhooks(user: User) -> Section:
    found = WebhookEndpoint.objects.filter(user_id=user.pk).order_by("-id")[:SHOWN]
    return Section(
        "webhooks",
        gettext("Webhooks"),
        (gettext("Address"), gettext("State"), gettext("Failing since")),
        tuple(
            Row(
                (hook.shown_address, hook.get_state_display(), moment_text(hook.failing_since)),
                row_url("accounts_webhookendpoint", hook.pk),
            )
            for hook in found
        ),
        list_url("accounts_webhookendpoint", user__id__exact=user.pk),
    )


def _channels(user: User) -> Section:
    chats = BotChat.objects.filter(user_id=user.pk).order_by("channel")
    sms = Row((gettext("SMS"), gettext("connected") if user.gets_sms else gettext("ended"), "-"))
    return Section(
        "channels",
        gettext("Messages"),
        (gettext("Channel"), gettext("State"), gettext("Connected at")),
        (
            sms,
            *(
                Row(
                    (
                        chat.get_channel_display(),
                        gettext("connected") if chat.chat_id is not None else gettext("ended"),
                        moment_text(chat.connected_at),
                    )
                )
                for chat in chats
            ),
        ),
        list_url("accounts_notice", user__id__exact=user.pk),
    )


SECTIONS: tuple[tuple[str, Callable[[User], Section]], ...] = (
    ("accounts.view_usernote", _notes),
    ("wallet.view_wallet", _balance),
    ("wallet.view_journalentry", _statement),
    ("proxy.view_usagerecord", _usage),
    ("keys.view_apikey", _keys),
    ("accounts.view_user", _sessions),
    ("wallet.view_topup", _topups),
    ("wallet.view_invoice", _invoices),
    ("accounts.view_webhookendpoint", _webhooks),
    ("accounts.view_notice", _channels),
)
