"""What was used: a record of each request, and roll-ups of them."""

from typing import ClassVar

from django.contrib.postgres.fields import ArrayField
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import F, Func, Q
from django.db.models.lookups import Exact
from django.utils.translation import gettext_lazy as _

from proxy.usage.origins import CLIENT_REQUEST_ID_MAX, HINT_MAX


class UsageRecord(models.Model):
    """One request that reached the ledger: what it used, at which price, what it cost, how it ended.

    Written in the statement that captures or voids its hold, so it carries plain ids instead of checked foreign
    keys: keys and users are never deleted. Never holds a prompt or an answer.
    """

    class Outcome(models.TextChoices):
        COMPLETED = "completed", _("completed")
        CLIENT_LEFT = "client_left", _("client left")
        UPSTREAM_FAILED = "upstream_failed", _("upstream failed")
        REFUSED = "refused", _("refused by upstream")
        INTERRUPTED = "interrupted", _("interrupted")

    class BilledBy(models.TextChoices):
        USAGE = "usage", _("reported usage")
        REPAIRED = "repaired", _("reported usage, repaired")
        COUNTED = "counted", _("counted")
        ESTIMATE = "estimate", _("estimate")
        NOTHING = "nothing", _("not billed")

    id = models.UUIDField(primary_key=True, editable=False)
    created_at = models.DateTimeField(_("time"))
    user_id = models.BigIntegerField(_("user"))
    key_id = models.BigIntegerField(_("key"))
    # The project of the key when the request came in; NULL: none.
    project_id = models.BigIntegerField(_("project"), null=True)
    # Which endpoint was called, by its name (proxy/metering/endpoint.py).
    endpoint = models.CharField(_("endpoint"), max_length=32, default="chat", db_default="chat")
    model = models.CharField(_("model"), max_length=120)
    upstream_id = models.BigIntegerField(_("upstream"))
    stream = models.BooleanField(_("streamed"))
    outcome = models.CharField(_("outcome"), max_length=16, choices=Outcome.choices)
    billed_by = models.CharField(_("billed by"), max_length=8, choices=BilledBy.choices)
    status = models.PositiveSmallIntegerField(_("HTTP status"))
    prompt_tokens = models.PositiveIntegerField(_("prompt tokens"))
    cached_tokens = models.PositiveIntegerField(_("cached tokens"))
    completion_tokens = models.PositiveIntegerField(_("completion tokens"))
    input_rial_per_million = models.PositiveBigIntegerField()
    output_rial_per_million = models.PositiveBigIntegerField()
    cached_input_rial_per_million = models.PositiveBigIntegerField()
    # The list that priced it (proxy.catalogue.models.Price); NULL: from before lists had names.
    price_list_id = models.BigIntegerField(_("price list"), null=True)
    # What was counted beyond the three numbers of tokens (proxy.usage.quantities); NULL: nothing was.
    quantities = models.JSONField(_("further quantities"), null=True)
    cost_micro = models.PositiveBigIntegerField(_("cost"))
    # What upstream reported beyond the hold: the operator's loss, never the wallet's.
    uncovered_micro = models.PositiveBigIntegerField(_("uncovered"), default=0)
    first_byte_ms = models.PositiveIntegerField(_("first byte, ms"), null=True)
    total_ms = models.PositiveIntegerField(_("total, ms"))
    # What the request costs the operator: what upstream says, else what its route's prices make of it. Never shown to
    # a customer.
    upstream_cost_nanodollars = models.PositiveBigIntegerField(_("upstream's cost, nanodollars"), null=True)
    upstream_cost_micro = models.PositiveBigIntegerField(_("upstream's cost, micro-Rial"), null=True)
    # What the client says of where the request comes from (proxy/usage/origins.py).
    client_request_id = models.CharField(
        _("the client's request id"), max_length=CLIENT_REQUEST_ID_MAX, default="", db_default=""
    )
    end_user = models.BinaryField(_("end user"), null=True)
    end_user_hint = models.CharField(_("end user"), max_length=HINT_MAX, default="", db_default="")

    class Meta:
        verbose_name = _("usage record")
        verbose_name_plural = _("usage records")
        indexes: ClassVar = [
            models.Index(fields=["user_id", "-created_at"], name="usage_user_recent"),
            # Any filter of the log is a few ranges of one of these (proxy/usage/log.py).
            models.Index(
                fields=["key_id", "model", "endpoint", "-created_at"], name="usage_key_model_endpoint"
            ),
            models.Index(
                fields=["end_user", "key_id", "model", "endpoint", "-created_at"],
                condition=Q(end_user__isnull=False),
                name="usage_end_user_recent",
            ),
            models.Index(
                fields=["user_id", "client_request_id", "-created_at"],
                condition=~Q(client_request_id=""),
                name="usage_client_request",
            ),
            models.Index(
                fields=["key_id", "model", "outcome", "-created_at"],
                condition=~Q(outcome="completed"),
                name="usage_not_completed_recent",
            ),
            # Rows lie in the order of their time, so a summary of each few pages finds what is new, and costs an
            # insert nothing.
            BrinIndex(
                fields=["created_at"], pages_per_range=32, autosummarize=True, name="usage_created_brin"
            ),
        ]
        constraints: ClassVar = [
            models.CheckConstraint(
                condition=Q(
                    cost_micro=(models.F("prompt_tokens") - models.F("cached_tokens"))
                    * models.F("input_rial_per_million")
                    + models.F("cached_tokens") * models.F("cached_input_rial_per_million")
                    + models.F("completion_tokens") * models.F("output_rial_per_million")
                    - models.F("uncovered_micro")
                )
                | Q(billed_by="nothing", cost_micro=0)
                # check_ledger computes these anew from the list.
                | Q(quantities__isnull=False, price_list_id__isnull=False),
                name="usage_cost_is_tokens_times_price",
            ),
            models.CheckConstraint(
                condition=Q(cached_tokens__lte=models.F("prompt_tokens")), name="usage_cached_within_prompt"
            ),
            models.CheckConstraint(
                condition=Q(quantities__isnull=True)
                | Q(
                    Exact(
                        Func("quantities", function="jsonb_typeof", output_field=models.TextField()), "object"
                    )
                ),
                name="usage_quantities_are_object",
            ),
            models.CheckConstraint(
                condition=Q(end_user__isnull=True, end_user_hint="")
                | (Q(end_user__isnull=False) & ~Q(end_user_hint="")),
                name="usage_end_user_is_shown",
            ),
        ]

    def __str__(self) -> str:
        return str(self.id)


class UsageRollup(models.Model):
    """Usage of one key, model and endpoint in one hour or one day (Tehran's), made from the records, and remade if
    needed."""

    class Period(models.TextChoices):
        HOUR = "hour", _("hour")
        DAY = "day", _("day")

    period = models.CharField(max_length=4, choices=Period.choices)
    starts_at = models.DateTimeField()
    user_id = models.BigIntegerField()
    key_id = models.BigIntegerField()
    model = models.CharField(max_length=120)
    endpoint = models.CharField(max_length=32)
    requests = models.PositiveBigIntegerField()
    errors = models.PositiveBigIntegerField()
    prompt_tokens = models.PositiveBigIntegerField()
    cached_tokens = models.PositiveBigIntegerField()
    completion_tokens = models.PositiveBigIntegerField()
    cost_micro = models.PositiveBigIntegerField()
    # How many completed answers fell into which bucket of proxy.usage.latency; NULL: not made yet.
    latency_buckets = ArrayField(models.PositiveSmallIntegerField(), null=True)
    latency_counts = ArrayField(models.PositiveBigIntegerField(), null=True)

    class Meta:
        db_table = "proxy_rollup"
        indexes: ClassVar = [
            models.Index(fields=["user_id", "period", "starts_at"], name="rollup_of_user"),
            models.Index(
                fields=["starts_at"],
                condition=Q(latency_counts__isnull=True),
                name="rollup_lacks_latency",
            ),
        ]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["period", "starts_at", "key_id", "model", "endpoint"], name="rollup_once_each"
            ),
            models.CheckConstraint(
                condition=Q(latency_buckets__isnull=True, latency_counts__isnull=True)
                | Q(
                    latency_buckets__isnull=False,
                    latency_counts__isnull=False,
                    latency_buckets__len=F("latency_counts__len"),
                ),
                name="rollup_latency_in_pairs",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.period} {self.starts_at} {self.key_id} {self.model} {self.endpoint}"


class EndUserRollup(models.Model):
    """Usage for one end user with one key, model and endpoint in one day (Tehran's), up to the hour that is rolled up.

    Days only: an account can have as many end users as requests.
    """

    starts_at = models.DateTimeField()
    user_id = models.BigIntegerField()
    end_user = models.BinaryField()
    end_user_hint = models.CharField(max_length=HINT_MAX)
    key_id = models.BigIntegerField()
    model = models.CharField(max_length=120)
    endpoint = models.CharField(max_length=32)
    requests = models.PositiveBigIntegerField()
    errors = models.PositiveBigIntegerField()
    prompt_tokens = models.PositiveBigIntegerField()
    cached_tokens = models.PositiveBigIntegerField()
    completion_tokens = models.PositiveBigIntegerField()
    cost_micro = models.PositiveBigIntegerField()

    class Meta:
        indexes: ClassVar = [models.Index(fields=["user_id", "starts_at"], name="end_user_rollup_of_user")]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["end_user", "starts_at", "key_id", "model", "endpoint"], name="end_user_rollup_once"
            )
        ]

    def __str__(self) -> str:
        return f"{self.starts_at} {self.end_user_hint} {self.key_id} {self.model} {self.endpoint}"
