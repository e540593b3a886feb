"""A row of each kind that the admin's lists show and no customer makes: what admins ask for, and what goes wrong."""

from datetime import timedelta
from uuid import uuid4

from axes.models import AccessAttempt
from django.conf import settings
from django.contrib.admin import site
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from accounts import challenges, number_changes
from accounts.admin_models import NumberChange
from accounts.channel_models import Notice
from accounts.models import Tier, User
from accounts.note_models import UserNote
from config import proofs
from config.tasks import runs
from keys.override_models import LimitOverride
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.models import ExchangeRate, PriceChange
from tests.factories import UserFactory
from wallet.credits import adjustments, promos, sign_up_credit
from wallet.credits.models import Adjustment, PromoCode
from wallet.ledger.models import Hold, Wallet
from wallet.money import micro_from_toman
from wallet.payments.models import GatewayChoice

REASON = "درخواست مشتری در تیکت ۱۰۴۸"
ADDRESS = "2001:db8::1"


def rows(user: User, *, model: str) -> dict[str, str]:
    """Makes them, around `user` and a model on sale; returns the id of one row of each model that the admin has."""
    admin = UserFactory.create(is_staff=True)
    _asked_for(user, admin, LanguageModel.objects.get(model_id=model))
    _done(user, admin)
    _went_on(user)
    newest = {admin_of: admin_of._default_manager.order_by("pk").last() for admin_of in site._registry}
    return {key(str(kind._meta.label_lower)): str(row.pk) for kind, row in newest.items() if row is not None}


def key(label: str) -> str:
    """Under which `rows` has a model's row, such as wallet_topup."""
    return label.replace(".", "_")


def _asked_for(user: User, admin: User, model: LanguageModel) -> None:
    number_changes.request(
        change=NumberChange(user=user, new_mobile="+989360001122", reason=REASON, requested_by=admin)
    )
    adjustments.request(
        adjustment=Adjustment(
            wallet=Wallet.objects.get(user=user),
            kind=Adjustment.Kind.GIFT,
            amount_micro=micro_from_toman(20_000_000),
            reason=REASON,
            requested_by=admin,
        )
    )
    tier = Tier.objects.get(is_default=True)
    sign_up_credit.request(tier=tier, amount_micro=micro_from_toman(30_000), admin_id=admin.pk)
    PriceChange.objects.create(
        model=model,
        input_rial_per_million=3_000,
        output_rial_per_million=18_000_000,
        valid_from=timezone.now() + timedelta(days=3),
        requested_by=admin,
    )


def _done(user: User, admin: User) -> None:
    UserNote.objects.create(user=user, author=admin, text="پیگیری شد؛ مشتری راضی است.")
    now = timezone.now()
    LimitOverride.objects.create(
        user=user, rpm=600, tpm=2_000_000, ends_at=now + timedelta(days=14), reason=REASON, set_by=admin
    )
    promo = PromoCode(
        code="NOWRUZ1405",
        amount_micro=micro_from_toman(10_000),
        max_uses=20,
        expires_at=now + timedelta(days=30),
    )
    promos.make(promo=promo, admin_id=admin.pk)
    promos.redeem(user_id=user.pk, typed=promo.code)
    ExchangeRate.objects.create(rial_per_dollar=1_150_000)
    GatewayChoice.objects.create(gateway="sandbox")


def _went_on(user: User) -> None:
    """A task that ended well and one that did not, a proof of the books, a call that runs, sign-ins refused."""
    now = timezone.now()
    for name, lag in (("wallet.tasks.sweep_expired_holds", 0.4), ("proxy.tasks.roll_up", 12.25)):
        run = str(uuid4())
        runs.claim(name, run_id=run, seconds=60, lag_seconds=lag)
        if lag < 1:
            runs.succeed(run_id=run)
        else:
            runs.fail(run_id=run, error=TimeoutError("canceling statement due to statement timeout"))
    proofs.prove(since=now - timedelta(days=1), until=now)
    with transaction.atomic():
        wallet = Wallet.objects.get(user=user)
        amount = micro_from_toman(1_200)
        Wallet.objects.filter(pk=wallet.pk).update(held_micro=F("held_micro") + amount)
        Hold.objects.create(
            id=uuid4(),
            wallet=wallet,
            amount_micro=amount,
            created_at=now,
            expires_at=now + timedelta(hours=1),
        )
    Notice.objects.create(
        user=user,
        channel="telegram",
        event="balance.low",
        dedup="screens",
        outcome=Notice.Outcome.SENT,
        tries=1,
    )
    challenges.issue(mobile=user.mobile, address=ADDRESS, now=now)
    asked = {
        "username": user.mobile,
        "ip_address": ADDRESS,
        "user_agent": "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0",
        "http_accept": "text/html",
        "path_info": settings.LOGIN_URL,
    }
    AccessAttempt.objects.create(failures_since_start=3, **asked)
