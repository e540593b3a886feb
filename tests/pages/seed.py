"""An account that somebody uses: money paid in, keys of several kinds, calls that went well and others."""

import secrets
from dataclasses import dataclass
from datetime import timedelta

import httpx
from django.conf import settings
from django.test import Client, override_settings
from django.utils import timezone

from accounts import sessions
from accounts.channel_models import BotChat, BotState, ChannelName
from accounts.channels import bots
from accounts.models import User
from accounts.opening import open_account
from keys import lifecycle
from keys.rules import KeyRules
from proxy import own_keys
from proxy.usage.models import UsageRecord
from tests.live import eventually
from wallet import alerts
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
    """`cookies` sign its owner in; `ids` are what addresses of pages are filled with."""

    cookies: dict[str, str]
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
    _call(url, shop.secret, bot.secret)
    eventually(lambda: UsageRecord.objects.filter(user_id=user.pk).count() == len(QUESTIONS) + 1)
    lifecycle.touch({shop.key_id: timezone.now(), bot.key_id: timezone.now()})
    other, own = _sign_in(user, FIREFOX), _sign_in(user, "Mozilla/5.0 (Android 16; Mobile) Chrome/142.0")
    elsewhere = next(
        each.id for each in sessions.listing(user_id=user.pk, current_key=own) if not each.is_current
    )
    assert other != own
    ids = {
        "key": str(shop.key_id),
        "paid": str(paid.pk),
        "cancelled": str(cancelled.pk),
        "waiting": str(waiting.pk),
        "payment": str(waiting.authority),
        "request": UsageRecord.objects.filter(user_id=user.pk).latest("created_at").pk.hex,
        "session": elsewhere,
    }
    return Account(cookies={settings.SESSION_COOKIE_NAME: own}, ids=ids)


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
    """A call a question, streamed and whole, and one that the model refuses."""
    with httpx.Client(base_url=url, timeout=30) as client:
        heads = [{"Authorization": f"Bearer {key}"} for key in keys]
        eventually(lambda: MODEL in client.get("/v1/models", headers=heads[0]).text)
        for number, question in enumerate(QUESTIONS):
            body = {
                "model": MODEL,
                "messages": [{"role": "user", "content": question}],
                "stream": number % 2 == 0,
            }
            answer = client.post("/v1/chat/completions", json=body, headers=heads[number % 3 % 2])
            assert answer.status_code == 200, answer.text
        refused = {"model": MODEL, "messages": [{"role": "user", "content": "?"}], "temperature": 9}
        assert client.post("/v1/chat/completions", json=refused, headers=heads[1]).status_code == 400


def _sign_in(user: User, browser: str) -> str:
    client = Client(headers={"User-Agent": browser})
    client.force_login(user)
    session = client.session
    session["browser"] = {"user_agent": browser, "address": "5.160.10.20"}
    session.save()
    return str(session.session_key)
