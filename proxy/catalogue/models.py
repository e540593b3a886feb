"""What is sold: models, upstreams and the routes to them. What they cost: proxy.catalogue.prices.models."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Func, Q
from django.db.models.lookups import Exact
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from proxy.catalogue.endpoints import CHAT, DEFAULT_ENDPOINTS
from proxy.catalogue.tokens import DEFAULT_RATES, OUTPUT_SLICE_TOKENS


def none_or_object(column: str) -> Q:
    """Of a JSON column: nothing, or an object."""
    kind = Func(column, function="jsonb_typeof", output_field=models.TextField())
    return Q(**{f"{column}__isnull": True}) | Q(Exact(kind, "object"))


class LanguageModel(models.Model):
    """A model that customers name in a request."""

    model_id = models.CharField(_("model id"), max_length=120, unique=True)
    description = models.CharField(_("description"), max_length=200, blank=True)
    description_fa = models.CharField(_("description in Persian"), max_length=200, blank=True)
    owned_by = models.CharField(_("owned by"), max_length=60, default="hamiran")
    endpoints = ArrayField(
        models.CharField(max_length=20),
        verbose_name=_("endpoints"),
        db_default=DEFAULT_ENDPOINTS,
        help_text=_("Where customers can call it. What its upstreams do not speak is translated to chat."),
    )
    context_tokens = models.PositiveIntegerField(_("context, tokens"))
    max_output_tokens = models.PositiveIntegerField(_("longest answer, tokens"))
    media_part_tokens = models.PositiveIntegerField(
        _("most tokens of an image, a sound or a file"),
        null=True,
        blank=True,
        help_text=_(
            "Held for each such part of a prompt. Empty: the whole context is held for a prompt with any."
        ),
    )
    takes_images = models.BooleanField(_("takes images"), default=True, db_default=True)
    takes_audio = models.BooleanField(_("takes sound"), default=True, db_default=True)
    takes_files = models.BooleanField(_("takes files and video"), default=True, db_default=True)
    takes_tools = models.BooleanField(_("takes tools"), default=True, db_default=True)
    # What makes the bound of a prompt (proxy.catalogue.tokens.TokenRates). Reports of upstreams above it raise
    # them.
    template_tokens = models.PositiveIntegerField(
        _("most tokens of the chat template"),
        default=DEFAULT_RATES.template_tokens,
        db_default=DEFAULT_RATES.template_tokens,
        help_text=_("Held beside the text of each prompt. Raised by itself where the truth was above."),
    )
    tokens_per_100_bytes = models.PositiveSmallIntegerField(
        _("most tokens per 100 bytes of text"),
        default=DEFAULT_RATES.tokens_per_100_bytes,
        db_default=DEFAULT_RATES.tokens_per_100_bytes,
        help_text=_("Raised by itself where the truth was above."),
    )
    tools_tokens_per_100_bytes = models.PositiveSmallIntegerField(
        _("most tokens per 100 bytes of tools"),
        default=DEFAULT_RATES.tools_tokens_per_100_bytes,
        db_default=DEFAULT_RATES.tools_tokens_per_100_bytes,
        help_text=_("Templates write definitions of tools anew. Raised by itself where the truth was above."),
    )
    output_slice_tokens = models.PositiveIntegerField(
        _("slice of an answer, tokens"),
        null=True,
        blank=True,
        default=OUTPUT_SLICE_TOKENS,
        db_default=OUTPUT_SLICE_TOKENS,
        help_text=_(
            "A streamed answer is held for slice by slice, where every upstream stops when it is told to. Empty: the "
            "longest answer that was asked for is held at once."
        ),
    )
    learned_context_tokens = models.PositiveIntegerField(
        _("longest prompt reported, tokens"),
        null=True,
        blank=True,
        help_text=_(
            "Above the declared context: from then on a prompt is bounded by its own length alone. Empty it when the "
            "context has been corrected."
        ),
    )
    learned_output_tokens = models.PositiveIntegerField(
        _("longest answer reported, tokens"),
        null=True,
        blank=True,
        help_text=_(
            "Above the cap that was sent: from then on as much is held for every answer. Empty it when the upstream "
            "obeys."
        ),
    )
    learned_hidden_tokens = models.PositiveIntegerField(
        _("most hidden tokens of an answer"),
        null=True,
        blank=True,
        help_text=_("Reasoning that is billed and not sent: held beside each slice. Raised by itself."),
    )
    is_active = models.BooleanField(_("on sale"), default=True)
    created_at = models.DateTimeField(_("created at"), default=timezone.now, editable=False)

    class Meta:
        verbose_name = _("model")
        verbose_name_plural = _("models")
        ordering: ClassVar = ["model_id"]
        constraints: ClassVar = [
            models.CheckConstraint(condition=Q(context_tokens__gt=0), name="model_context_positive"),
            models.CheckConstraint(condition=Q(max_output_tokens__gt=0), name="model_output_positive"),
            models.CheckConstraint(condition=~Q(endpoints=[]), name="model_has_endpoints"),
            models.CheckConstraint(
                condition=Q(tokens_per_100_bytes__gt=0, tools_tokens_per_100_bytes__gt=0),
                name="model_token_rates_positive",
            ),
            models.CheckConstraint(
                condition=Q(output_slice_tokens__isnull=True) | Q(output_slice_tokens__gt=0),
                name="model_output_slice_positive",
                violation_error_message=_(
                    "A slice is at least one token; to hold all at once, leave it empty."
                ),
            ),
        ]

    def __str__(self) -> str:
        return self.model_id


class Upstream(models.Model):
    """A server that runs models for us."""

    class OnDisconnect(models.TextChoices):
        CANCEL = "cancel", _("cancel: stop it, bill what was relayed")
        DRAIN = "drain", _("drain: read on, bill what it reports")

    class Kind(models.TextChoices):
        """Keys of proxy.catalogue.quirks.QUIRKS."""

        OPENAI = "openai", _("OpenAI and alike")
        GEMINI = "gemini", _("Gemini's OpenAI-compatible endpoint")
        LLAMACPP = "llamacpp", _("llama.cpp")

    class LimitField(models.TextChoices):
        """Names of the cap on an answer (proxy.catalogue.request_fields.LIMIT_FIELDS)."""

        MAX_TOKENS = "max_tokens", "max_tokens"
        MAX_COMPLETION_TOKENS = "max_completion_tokens", "max_completion_tokens"
        BOTH = "both", _("both")

    name = models.CharField(_("name"), max_length=60, unique=True)
    # No URLField: its rules refuse a container's plain host name. `proxy.catalogue.upstream_url` judges what is
    # entered.
    base_url = models.CharField(_("base URL"), max_length=300, help_text=_("Up to and with /v1."))
    api_key_encrypted = models.BinaryField(editable=False, default=b"")
    kind = models.CharField(
        _("kind"),
        max_length=16,
        choices=Kind.choices,
        default=Kind.OPENAI,
        db_default=Kind.OPENAI,
        help_text=_("What it does otherwise than OpenAI is evened out."),
    )
    strip_fields = models.CharField(
        _("more fields to leave out"),
        max_length=500,
        blank=True,
        default="",
        db_default="",
        help_text=_("Top-level request fields that it answers 400 to, with commas or spaces."),
    )
    limit_field = models.CharField(
        _("name of the cap that it obeys"),
        max_length=21,
        choices=LimitField.choices,
        default=LimitField.MAX_TOKENS,
        db_default=LimitField.MAX_TOKENS,
        help_text=_("Every request is sent with a cap on its answer, the one that is held for."),
    )
    max_in_flight = models.PositiveIntegerField(
        _("most calls at once"),
        null=True,
        blank=True,
        help_text=_("Of each web process. Beyond it the next route is taken, else 503. Empty: no limit."),
    )
    on_disconnect = models.CharField(
        _("when the client leaves"),
        max_length=8,
        choices=OnDisconnect.choices,
        default=OnDisconnect.CANCEL,
        help_text=_(
            "Cancel gives away what the upstream makes and bills after it was told to stop, and what it had made but "
            "not yet sent. Drain reads and bills all of it."
        ),
    )
    is_active = models.BooleanField(_("in use"), default=True)

    class Meta:
        verbose_name = _("upstream")
        verbose_name_plural = _("upstreams")
        ordering: ClassVar = ["name"]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(max_in_flight__isnull=True) | Q(max_in_flight__gt=0),
                name="upstream_max_in_flight_positive",
                violation_error_message=_("At least one call at once; to stop it, take it out of use."),
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Route(models.Model):
    """Where a model is served.

    Active routes with the lowest priority number share the traffic by weight; the others are tried after them.
    """

    model = models.ForeignKey(
        LanguageModel, verbose_name=_("model"), on_delete=models.CASCADE, related_name="routes"
    )
    upstream = models.ForeignKey(
        Upstream, verbose_name=_("upstream"), on_delete=models.PROTECT, related_name="routes"
    )
    upstream_model = models.CharField(_("model name there"), max_length=120)
    priority = models.PositiveSmallIntegerField(
        _("priority"), default=100, help_text=_("The lowest serves; the others stand in for it.")
    )
    weight = models.PositiveSmallIntegerField(
        _("weight"),
        default=1,
        db_default=1,  # for processes of the version before, which go on running during an update
        help_text=_("Share of the traffic among routes of equal priority."),
    )
    protocols = ArrayField(
        models.CharField(max_length=20),
        verbose_name=_("protocols"),
        db_default=[CHAT],
        help_text=_("What its upstream speaks. A request in one of them goes there as it came."),
    )
    # What the upstream charges, as proxy.catalogue.prices.upstream_price stores it; NULL: unknown.
    upstream_prices = models.JSONField(_("upstream's prices"), null=True, blank=True, editable=False)

    class Meta:
        verbose_name = _("route")
        verbose_name_plural = _("routes")
        ordering: ClassVar = ["model", "priority", "id"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["model", "upstream"], name="route_once"),
            models.CheckConstraint(
                condition=Q(weight__gt=0),
                name="route_weight_positive",
                violation_error_message=_("A weight is at least 1."),
            ),
            models.CheckConstraint(condition=~Q(protocols=[]), name="route_has_protocols"),
            models.CheckConstraint(
                condition=none_or_object("upstream_prices"),
                name="route_upstream_prices_are_object",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.model} → {self.upstream}"
