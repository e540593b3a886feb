"""An account that somebody uses: money paid in, keys of several kinds, calls that went well and others."""

import secrets
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from uuid import uuid4

import httpx
from django.conf import settings
from django.db import transaction
from django.test import Client, override_settings
from django.utils import timezone

from accounts import message_counts, sessions
from accounts.channel_models import BotChat, BotState, ChannelName
from accounts.channels import bots
from accounts.models import User
from accounts.opening import open_account
from accounts.signals import endpoints, outbox
from accounts.signals.events import Event
from accounts.signals.models import WebhookDelivery
from keys import admin_keys, lifecycle
from keys.actors import Actor, Kind
from keys.projects import people, projects
from keys.projects.projects import Role
from keys.rules import KeyRules
from proxy import own_keys, own_projects
from proxy.catalogue.models import Upstream
from proxy.usage import periods
from proxy.usage.health.models import HealthProgress, ModelHealth
from proxy.usage.models import UsageRecord
from proxy.usage.sales import counting as sales
from tests.admin_browser import admin_browser
from tests.live import eventually
from wallet import alerts
from wallet.ledger.periods import Period
from wallet.money import micro_from_toman
from wallet.payments import topups
from wallet.payments.gateways import sandbox
from wallet.payments.models import TopUp

MODEL = "gemini-3.1-flash"  # not the starter model, which other tests may send elsewhere
# By the model of the sandbox's upstream that answers.
MODELS_BESIDE_CHAT = {
    "image-1": "hamiran-image",
    "speech-1": "hamiran-speech",
    "transcription-1": "hamiran-transcription",
    "embedding-1": "hamiran-embedding",
}
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0"
BOTS = {"TELEGRAM_BOT_TOKEN": "1:telegram", "BALE_BOT_TOKEN": "2:bale"}
END_USERS = ("customer-1048", "مشتری ویژهٔ فروشگاه کتاب", "f3a1c2d4" * 9)
QUESTIONS = (
    "سلام! سه کتاب برای شروع فلسفه پیشنهاد بده.",
    "Translate to Persian: the parcel arrives on Tuesday.",
    "خلاصهٔ این نظر مشتری را در یک جمله بنویس: بسته دیر رسید اما پشتیبانی عالی بود.",
    "Write a product description for a walnut bookshelf.",
    "یک عنوان کوتاه برای خبر افتتاح شعبهٔ شیراز.",
    "Is this review positive or negative? “Good, but too expensive.”",
)


def introduce_bots() -> None:
    """They work, as far as anybody knows."""
    with override_settings(**BOTS):
        for channel in bots.configured():
            bots.known(channel)
    BotState.objects.update(username="hamiran_bot", problem="")


@dataclass(frozen=True, slots=True)
class Account:
    """`cookies` sign its owner in, `admin_cookies` an admin; `ids` are what addresses of pages are filled with."""

    cookies: dict[str, str]
    admin_cookies: dict[str, str]
    ids: dict[str, str]


def account(url: str) -> Account:
    """Made by what people do themselves; the calls go through the web process at `url`."""
    user = open_account(mobile=f"+98913{secrets.randbelow(10**7):07d}")
    paid = _top_up(user, toman=500_000, pays=True)
    cancelled = _top_up(user, toman=50_000, pays=False)
    waiting = _top_up(user, toman=200_000, pays=None)
    BotChat.objects.create(
        user=user, channel=ChannelName.TELEGRAM, chat_id=secrets.randbelow(10**9), language="fa"
    )
    alerts.choose(user_id=user.pk, threshold_micro=micro_from_toman(50_000))
    shop = own_keys.create(
        user_id=user.pk, name="فروشگاه کتاب", rules=KeyRules(rpm=8), cap_micro=micro_from_toman(50_000)
    )
    bot = own_keys.create(
        user_id=user.pk,
        name="telegram-bot",
        rules=KeyRules(
            expires_at=timezone.now() + timedelta(days=90),
            allowed_models=(MODEL,),
            allowed_networks=("127.0.0.0/8",),
        ),
        cap_micro=None,
    )
    old = lifecycle.create(user_id=user.pk, name="آزمایش قدیمی")
    lifecycle.revoke(user_id=user.pk, key_id=old.key_id)
    admin_key = _admin_keys(user)
    _call(url, shop.secret, bot.secret)
    _health()
    eventually(lambda: UsageRecord.objects.filter(user_id=user.pk).count() == len(QUESTIONS) + 2)
    lifecycle.touch({shop.key_id: timezone.now(), bot.key_id: timezone.now()})
    other, own = _sign_in(user, FIREFOX), _sign_in(user, "Mozilla/5.0 (Android 16; Mobile) Chrome/142.0")
    elsewhere = next(
        each.id for each in sessions.listing(user_id=user.pk, current_key=own) if not each.is_current
    )
    assert other != own
    webhook, delivery = _webhook(user)
    project, member, joined = _projects(user)
    ids = {
        "user": str(user.pk),
        "tier": str(user.tier_id),
        "upstream": str(Upstream.objects.values_list("pk", flat=True).first()),
        "project": str(project),
        "member": str(member),
        "joined": str(joined),
        "webhook": webhook,
        "delivery": delivery,
        "key": str(shop.key_id),
        "admin_key": str(admin_key),
        "paid": str(paid.pk),
        "cancelled": str(cancelled.pk),
        "waiting": str(waiting.pk),
        "payment": str(waiting.authority),
        "request": UsageRecord.objects.filter(user_id=user.pk).latest("created_at").pk.hex,
        "session": elsewhere,
    }
    sales.count()
    message_counts.count()
    admin = admin_browser().session.session_key
    return Account({settings.SESSION_COOKIE_NAME: own}, {settings.SESSION_COOKIE_NAME: str(admin)}, ids)


def _projects(user: User) -> tuple[int, int, int]:
    """One with a cap, a key and people, a member of it, and one of somebody else's; another one invites."""
    project = projects.create(user_id=user.pk, name="فروشگاه")
    own_projects.change(
        user_id=user.pk,
        project_id=project,
        name="فروشگاه",
        cap_micro=micro_from_toman(200_000),
        cap_period=Period.MONTH,
    )
    own_keys.create(user_id=user.pk, name="سایت", rules=KeyRules(), cap_micro=None, project_id=project)
    for role in (Role.MEMBER, Role.VIEWER):
        mobile = f"+98914{secrets.randbelow(10**7):07d}"
        people.invite(user_id=user.pk, project_id=project, mobile=mobile, role=role)
    other = open_account(mobile=f"+98915{secrets.randbelow(10**7):07d}")
    joined, waiting = (projects.create(user_id=other.pk, name=name) for name in ("دانشگاه", "آزمایشگاه"))
    for each in (joined, waiting):
        people.invite(user_id=other.pk, project_id=each, mobile=user.mobile, role=Role.MEMBER)
    people.accept(user_id=user.pk, project_id=joined)
    return project, people.members(project_id=project)[0].member_id, joined


def _admin_keys(user: User) -> int:
    """Two, one of which is revoked and one has changed a key; the id of that one."""
    make = partial(
        admin_keys.create, user_id=user.pk, expires_at=None, by=Actor(Kind.DASHBOARD, user_id=user.pk)
    )
    old = make(name="قدیمی", scopes=["usage:read"], allowed_networks=(), creation_token=uuid4())
    admin_keys.revoke(user_id=user.pk, key_id=old.key_id, by=Actor(Kind.STAFF, user_id=user.pk))
    key = make(
        name="terraform",
        scopes=["keys:read", "keys:write"],
        allowed_networks=["192.0.2.0/24"],
        creation_token=uuid4(),
    ).key_id
    by = Actor(Kind.ADMIN_KEY, admin_key_id=key, address="2001:db8::1")
    customer = lifecycle.create(user_id=user.pk, name="customer 4711", by=by).key_id
    own_keys.change(
        user_id=user.pk,
        key_id=customer,
        name="customer 4711",
        rules=KeyRules(rpm=60, allowed_models=(MODEL,), expires_at=timezone.now() + timedelta(days=30)),
        cap_micro=micro_from_toman(50_000),
        by=by,
    )
    return key


def _webhook(user: User) -> tuple[str, str]:
    """One that has been failing for a while, with deliveries of every kind; paused, so that nothing is sent."""
    made = endpoints.create(user_id=user.pk, address="http://127.0.0.1:9/hamiran", events=list(Event.values))
    for number in range(4):
        with transaction.atomic():
            outbox.emit(
                user_id=user.pk,
                event=Event.KEY_CREATED,
                data={
                    "key_id": number,
                    "name": "وب‌سایت",
                    "hint": "hm-…k3Yz",
                    "expires_at": None,
                    "replaces": None,
                },
            )
    deliveries = WebhookDelivery.objects.filter(endpoint=made.endpoint_id)
    delivered, given_up, failed, _waiting = deliveries.order_by("id")
    now = timezone.now()
    tried = {"attempts": 3, "attempted_at": now}
    deliveries.filter(pk=delivered.pk).update(
        state="delivered", next_at=None, delivered_at=now, status=204, **tried
    )
    deliveries.filter(pk=given_up.pk).update(
        state="given_up", next_at=None, status=500, error="status", **tried
    )
    deliveries.filter(pk=failed.pk).update(error="timeout", **tried)
    endpoints.pause(user_id=user.pk, endpoint_id=made.endpoint_id)
    return str(made.endpoint_id), str(given_up.pk)


def _top_up(user: User, *, toman: int, pays: bool | None) -> TopUp:
    """Paid, cancelled, or (None) left at the gateway's page."""
    topups.start(
        user_id=user.pk, amount_micro=micro_from_toman(toman), callback_url=lambda pk: f"/back/{pk}/"
    )
    made = TopUp.objects.filter(user_id=user.pk).latest("created_at")
    if pays is not None:
        sandbox.decide(str(made.authority), pays=pays)
        topups.come_back(topup_id=made.pk, query={"Authority": str(made.authority)})
    return made


def _call(url: str, *keys: str) -> None:
    """A call a question, streamed and whole, for customers of ours; one in another protocol, one that is refused."""
    with httpx.Client(base_url=url, timeout=30) as client:
        heads = [{"Authorization": f"Bearer {key}"} for key in keys]
        eventually(lambda: MODEL in client.get("/v1/models", headers=heads[0]).text)
        for number, question in enumerate(QUESTIONS):
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": question}],
                "stream": number % 2 == 0,
                "user": END_USERS[number % 3],
            }
            head = heads[number % 3 % 2] | {"X-Client-Request-Id": f"order-{number}"}
            answer = client.post("/v1/chat/completions", json=body, headers=head)
            assert answer.status_code == 200, answer.text
        asked = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "max_tokens": 50}
        assert client.post("/v1/messages", json=asked, headers=heads[0]).status_code == 200
        refused = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "temperature": 9}
        assert client.post("/v1/chat/completions", json=refused, headers=heads[1]).status_code == 400


def _health() -> None:
    """Hours and days of all kinds on the status page."""
    now = timezone.now()
    HealthProgress.objects.update_or_create(
        pk=1, defaults={"since": now - timedelta(days=30), "counted_until": now}
    )
    strips = {"hour": periods.preset("24h", now=now), "day": periods.preset("30d", now=now)}
    for period, strip in strips.items():
        for number, start in enumerate(strip.starts[3:]):
            ModelHealth.objects.update_or_create(
                period=period,
                starts_at=start,
                model=MODEL,
                defaults={
                    "answered": 10 if number == 9 else 990,
                    "failed": 90 if number in {4, 9} else number % 3,
                    "first_buckets": [20, 24],
                    "first_counts": [500, 40],
                    "whole_buckets": [30],
                    "whole_counts": [400],
                },
            )


def _sign_in(user: User, browser: str) -> str:
    client = Client(headers={"User-Agent": browser})
    client.force_login(user)
    session = client.session
    session["browser"] = {"user_agent": browser, "address": "5.160.10.20"}
    session.save()
    return str(session.session_key)
