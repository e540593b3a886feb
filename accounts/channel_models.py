"""How messages reach people: the bots of messengers, whose chats they write to, and the messages themselves."""

from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _


class ChannelName(models.TextChoices):
    SMS = "sms", _("SMS")
    TELEGRAM = "telegram", _("Telegram")
    BALE = "bale", _("Bale")


IS_A_BOT = Q(channel__in=["telegram", "bale"])


class BotState(models.Model):
    """What is known of a bot: its name, what of its messages has been read, and who works for it.

    `fingerprint` tells the token that all of it belongs to. `offset` is the id of the first message that has not been
    read. Whoever reads or sends has the row until `polled_until` or `sent_until`. Nothing is sent before
    `paused_until`.
    """

    channel = models.CharField(_("messenger"), max_length=8, primary_key=True, choices=ChannelName.choices)
    fingerprint = models.CharField(max_length=64)
    username = models.CharField(_("name of the bot"), max_length=64, blank=True)
    problem = models.CharField(_("what is wrong"), max_length=32, blank=True)
    asked_at = models.DateTimeField(_("last asked"), null=True)
    offset = models.BigIntegerField(default=0)
    polled_until = models.DateTimeField(null=True)
    sent_until = models.DateTimeField(null=True)
    paused_until = models.DateTimeField(_("paused until"), null=True)

    class Meta:
        verbose_name = _("bot")
        verbose_name_plural = _("bots")
        constraints: ClassVar = [models.CheckConstraint(condition=IS_A_BOT, name="bot_state_of_a_bot")]

    def __str__(self) -> str:
        return self.get_channel_display()


class BotChat(models.Model):
    """A user's chat with a bot. The bot may write there as long as there is a `chat_id`.

    Without one the person has blocked the bot (`lost_at`) or ended it (then not). `language` is that of the page on
    which the chat was connected.
    """

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="bot_chats")
    channel = models.CharField(_("messenger"), max_length=8, choices=ChannelName.choices)
    chat_id = models.BigIntegerField(null=True)
    is_chosen = models.BooleanField(_("gets messages"), default=True)
    language = models.CharField(max_length=8)
    connected_at = models.DateTimeField(_("connected at"), default=timezone.now)
    lost_at = models.DateTimeField(_("blocked at"), null=True)

    class Meta:
        verbose_name = _("chat with a bot")
        verbose_name_plural = _("chats with bots")
        constraints: ClassVar = [
            models.CheckConstraint(condition=IS_A_BOT, name="bot_chat_of_a_bot"),
            models.UniqueConstraint(fields=["user", "channel"], name="bot_chat_one_per_user"),
            models.UniqueConstraint(fields=["channel", "chat_id"], name="bot_chat_of_one_user"),
            models.CheckConstraint(
                condition=Q(chat_id__isnull=True) | Q(lost_at__isnull=True), name="bot_chat_there_or_lost"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.user_id}"


class BotInvitation(models.Model):
    """A link by which one person may connect one chat, within ten minutes. Only a digest of its token is kept."""

    digest = models.BinaryField(primary_key=True, max_length=32)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    channel = models.CharField(max_length=8, choices=ChannelName.choices)
    language = models.CharField(max_length=8)
    expires_at = models.DateTimeField(db_index=True)
    used_at = models.DateTimeField(null=True)

    class Meta:
        constraints: ClassVar = [
            models.CheckConstraint(condition=IS_A_BOT, name="bot_invitation_of_a_bot"),
        ]

    def __str__(self) -> str:
        return f"{self.channel} {self.user_id}"


class Notice(models.Model):
    """One message to one person by one channel: about one occurrence of an event, once.

    It is due at `due_at`; NULL: it is over, or being sent, as `outcome` says. Its text goes when it is over.
    """

    class Outcome(models.TextChoices):
        WAITING = "waiting", _("waiting")
        SENDING = "sending", _("being sent")
        SENT = "sent", _("sent")
        UNKNOWN = "unknown", _("may have arrived")
        FAILED = "failed", _("failed")
        WITHDRAWN = "withdrawn", _("no longer needed")

    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, verbose_name=_("user"), on_delete=models.CASCADE, related_name="+"
    )
    channel = models.CharField(_("channel"), max_length=8, choices=ChannelName.choices)
    event = models.CharField(_("event"), max_length=40)
    dedup = models.CharField(max_length=120)
    text = models.CharField(max_length=1000, blank=True)
    outcome = models.CharField(_("outcome"), max_length=10, choices=Outcome.choices, default=Outcome.WAITING)
    created_at = models.DateTimeField(_("created at"), default=timezone.now)
    due_at = models.DateTimeField(null=True)
    tries = models.PositiveSmallIntegerField(_("tries"), default=0)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        indexes: ClassVar = [
            models.Index(fields=["channel", "due_at"], condition=Q(due_at__isnull=False), name="notice_due"),
            models.Index(fields=["created_at"], name="notice_created"),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["user", "event", "dedup", "channel"], name="notice_once_per_channel"
            ),
            models.CheckConstraint(
                condition=Q(outcome="waiting", due_at__isnull=False)
                | ~Q(outcome="waiting") & Q(due_at__isnull=True),
                name="notice_waiting_is_due",
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=["waiting", "sending"]) & ~Q(text="")
                | ~Q(outcome__in=["waiting", "sending"]) & Q(text=""),
                name="notice_text_until_over",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.event} {self.channel} {self.pk}"


class MessageCount(models.Model):
    """How many codes and notices of a day (Tehran's) ended how; the rows themselves are not kept for long."""

    class Kind(models.TextChoices):
        CODE = "code", _("one-time code")
        NOTICE = "notice", _("message")

    class CodeOutcome(models.TextChoices):
        ANSWERED = "answered", _("entered")
        UNANSWERED = "unanswered", _("sent and not entered")
        NOT_SENT = "not_sent", _("not sent")

    day = models.DateField()
    kind = models.CharField(max_length=8, choices=Kind.choices)
    channel = models.CharField(max_length=8, choices=ChannelName.choices)
    # Of CodeOutcome or Notice.Outcome.
    outcome = models.CharField(max_length=10)
    messages = models.PositiveBigIntegerField()

    class Meta:
        default_permissions = ()
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["day", "kind", "channel", "outcome"], name="messagecount_once"),
            models.CheckConstraint(
                condition=Q(kind="code", channel="sms", outcome__in=["answered", "unanswered", "not_sent"])
                | Q(
                    kind="notice",
                    outcome__in=["waiting", "sending", "sent", "unknown", "failed", "withdrawn"],
                ),
                name="messagecount_outcome_of_kind",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.day} {self.kind} {self.channel} {self.outcome}"
