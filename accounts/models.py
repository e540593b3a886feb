"""People: users by mobile number, their tier, the challenges that their one-time codes answer, their sessions."""

import uuid
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.sessions.base_session import AbstractBaseSession
from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import F, Q
from django.utils import timezone
from django.utils.translation import get_language
from django.utils.translation import gettext_lazy as _

# Django finds an app's models through this module.
from accounts import admin_models, channel_models, limit_models, note_models  # noqa: F401
from accounts.shared import formats
from accounts.signals import models as signals_models  # noqa: F401 - likewise

ACCOUNT_AGE_MAX_DAYS = 36_500


class Tier(models.Model):
    """What a user's keys may do per minute and per day, each and together.

    Changed in the admin, seen by the API within seconds. `model_limits` says what holds for single models besides.
    """

    name = models.CharField(_("name"), max_length=40, unique=True)
    rpm = models.PositiveIntegerField(_("requests per minute"))
    tpm = models.PositiveBigIntegerField(_("tokens per minute"))
    concurrency = models.PositiveIntegerField(
        _("requests at once"), null=True, blank=True, help_text=_("Empty: no limit of its own.")
    )
    # Of Tehran's day, from midnight to midnight.
    rpd = models.PositiveBigIntegerField(
        _("requests per day"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("From midnight to midnight, Tehran time. Empty: no limit."),
    )
    tpd = models.PositiveBigIntegerField(
        _("tokens per day"),
        null=True,
        blank=True,
        validators=[MinValueValidator(1)],
        help_text=_("From midnight to midnight, Tehran time. Empty: no limit."),
    )
    account_factor = models.PositiveSmallIntegerField(
        _("all keys together"),
        default=5,
        db_default=5,
        validators=[MinValueValidator(1)],
        help_text=_("How many times these limits all keys of one account may reach together."),
    )
    sign_up_credit_micro = models.PositiveBigIntegerField(
        _("sign-up credit"), default=0, help_text=_("In micro-Rial (1 Toman = 10,000,000).")
    )
    min_lifetime_topup_micro = models.PositiveBigIntegerField(
        _("given from a lifetime top-up of"),
        null=True,
        blank=True,
        help_text=_("In micro-Rial. Empty: given by an admin only, and never taken away by the system."),
    )
    min_account_age_days = models.PositiveIntegerField(
        _("and from an account age in days of"),
        default=0,
        db_default=0,
        validators=[MaxValueValidator(ACCOUNT_AGE_MAX_DAYS)],
        help_text=_(
            "0: from the first day on. An account that has paid enough moves on the day it is old enough."
        ),
    )
    is_default = models.BooleanField(_("tier of new accounts"), default=False)

    class Meta:
        verbose_name = _("tier")
        verbose_name_plural = _("tiers")
        ordering: ClassVar = ["rpm"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["is_default"], condition=Q(is_default=True), name="tier_one_default"
            ),
            models.CheckConstraint(condition=Q(rpm__gt=0), name="tier_rpm_positive"),
            models.CheckConstraint(condition=Q(tpm__gt=0), name="tier_tpm_positive"),
            models.CheckConstraint(
                condition=Q(concurrency__isnull=True) | Q(concurrency__gt=0), name="tier_concurrency_positive"
            ),
            models.CheckConstraint(condition=Q(account_factor__gt=0), name="tier_account_factor_positive"),
            models.CheckConstraint(
                condition=(Q(rpd__isnull=True) | Q(rpd__gt=0)) & (Q(tpd__isnull=True) | Q(tpd__gt=0)),
                name="tier_days_positive",
            ),
            models.CheckConstraint(
                condition=Q(min_account_age_days__lte=ACCOUNT_AGE_MAX_DAYS), name="tier_account_age_bounded"
            ),
            models.UniqueConstraint(
                fields=["min_lifetime_topup_micro", "min_account_age_days"], name="tier_rule_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class UserManager(BaseUserManager["User"]):
    def create_user(self, mobile: str, password: str | None = None, **fields: Any) -> "User":
        """Bare row, for tests and `create_admin`; people come in through `accounts.opening`."""
        if "tier" not in fields and "tier_id" not in fields:
            fields["tier"] = Tier.objects.get(is_default=True)
        user = self.model(mobile=mobile, **fields)
        if password is None:
            user.set_unusable_password()
        else:
            user.set_password(password)
        user.save(using=self._db)
        return user


class User(AbstractBaseUser, PermissionsMixin):
    """A person with an Iranian mobile number. Developers have no password; admins have one, and a TOTP device."""

    mobile = models.CharField(_("mobile number"), max_length=16, unique=True, help_text="E.164")
    tier = models.ForeignKey(Tier, verbose_name=_("tier"), on_delete=models.PROTECT, related_name="users")
    is_active = models.BooleanField(_("active"), default=True)
    is_staff = models.BooleanField(_("admin"), default=False)
    joined_at = models.DateTimeField(_("joined at"), default=timezone.now, editable=False)
    # `accounts.approvals` judges by it.
    empowered_at = models.DateTimeField(
        _("last given rights, a password or an authenticator"), null=True, editable=False
    )
    # `keys.lifecycle` obeys it.
    no_new_keys_until = models.DateTimeField(_("no new keys until"), null=True, editable=False)
    # `accounts.channels` obeys it, as long as there is another way.
    gets_sms = models.BooleanField(_("gets messages by SMS"), default=True, db_default=True, editable=False)

    objects: ClassVar[UserManager] = UserManager()
    USERNAME_FIELD = "mobile"

    class Meta:
        verbose_name = _("user")
        verbose_name_plural = _("users")
        permissions: ClassVar = [
            ("block_user", _("Can block and unblock accounts")),
            ("end_user_sessions", _("Can sign people out everywhere")),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(mobile__regex=r"^\+98[0-9]{10}$"), name="user_mobile_iranian"),
        ]

    def __str__(self) -> str:
        return formats.ltr_text(self.mobile, language=get_language())

    def set_password(self, raw_password: str | None) -> None:
        super().set_password(raw_password)
        self.empowered_at = timezone.now()


class Challenge(models.Model):
    """One one-time code sent to one number for one browser. The code itself is never stored."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    mobile = models.CharField(_("mobile number"), max_length=16)
    digest = models.BinaryField(max_length=32)
    pepper_version = models.PositiveSmallIntegerField()
    browser_digest = models.BinaryField(max_length=32)
    address = models.GenericIPAddressField(_("address"))
    # Whether the browser has signed in with this number before (accounts.known_browser).
    is_known_browser = models.BooleanField(_("known browser"), default=False, db_default=False)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    expires_at = models.DateTimeField(_("valid until"))
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)
    voided_at = models.DateTimeField(_("withdrawn at"), null=True)
    consumed_at = models.DateTimeField(_("entered at"), null=True)

    class Meta:
        verbose_name = _("one-time code")
        verbose_name_plural = _("one-time codes")
        indexes: ClassVar = [
            models.Index(fields=["mobile", "-created_at"], name="challenge_mobile_recent"),
            models.Index(fields=["address", "-created_at"], name="challenge_address_recent"),
            models.Index(fields=["created_at"], name="challenge_created"),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(tries__lte=5), name="challenge_five_tries"),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("created_at")), name="challenge_expires_later"
            ),
            models.CheckConstraint(
                condition=Q(consumed_at__isnull=True) | Q(voided_at__isnull=True),
                name="challenge_consumed_or_voided",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class SentSMS(models.Model):
    """One message of any kind that went out, for the budget of all. Says neither to whom it went nor what it said."""

    sent_at = models.DateTimeField(db_index=True)

    def __str__(self) -> str:
        return str(self.sent_at)


class Session(AbstractBaseSession):
    """A session of Django's kind, with what its owner needs to tell its browser from others.

    `accounts.session_store` writes it, with a digest in place of the key. Without a user nobody has signed in there
    (yet).
    """

    session_key = models.CharField(max_length=64, primary_key=True)
    user = models.ForeignKey(User, null=True, on_delete=models.CASCADE, related_name="sessions")
    user_agent = models.CharField(max_length=300, blank=True)
    address = models.GenericIPAddressField(null=True)
    signed_in_at = models.DateTimeField(null=True)
    last_seen_at = models.DateTimeField(default=timezone.now)

    class Meta(AbstractBaseSession.Meta):
        abstract = False
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(user__isnull=True) | Q(signed_in_at__isnull=False), name="session_signed_in_at"
            ),
        ]

    def __str__(self) -> str:
        return self.user_agent
