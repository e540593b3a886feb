"""What must be true when the dust has settled: every client's story against the ledger and both outside books."""

import io
import uuid
from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from django.core.management import call_command
from django.db.models import F, Q

from proxy.catalogue.tokens import BYTES_PER_TOKEN
from proxy.idempotency.models import AnswerKeeping
from proxy.usage.models import UsageRecord
from tests.chaos.attempt import PAID, Attempt, Ending
from tests.chaos.faults import Disruption
from tests.chaos.media import SPEECH
from tests.chaos.people import PRICE
from tests.chaos.upstream import Served, usage_of
from wallet.ledger.models import Hold, JournalEntry, Wallet
from wallet.payments.models import SandboxPayment, TopUp

PING = b": ping\n\n"
UNHEARD = {Ending.CUT, Ending.HUNG, Ending.LEFT}


@dataclass
class Verdict:
    """`faults` is empty when all is well; `figures` are for people."""

    faults: list[str] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)

    def require(self, holds: object, complaint: str) -> None:
        if not holds:
            self.faults.append(complaint)


def judge(
    attempts: list[Attempt],
    book: dict[int, Served],
    disruptions: list[Disruption],
    *,
    long_outages: bool = False,
) -> Verdict:
    """`long_outages`: the database is away for longer than an answer waits to be kept."""
    verdict = Verdict()
    records = {record.id: record for record in UsageRecord.objects.all()}
    debits = dict(
        JournalEntry.objects.filter(kind="completion", account="wallet").values_list(
            "transaction_id", "amount_micro"
        )
    )
    _completions(verdict, attempts, records, debits)
    _strangers(verdict, attempts, records)
    _repeats(verdict, attempts, records, long_outages=long_outages)
    _upstream(verdict, attempts, book)
    _broken_connections(verdict, attempts, disruptions)
    _topups(verdict)
    _wallets(verdict)
    return verdict


def _completions(
    verdict: Verdict,
    attempts: list[Attempt],
    records: dict[uuid.UUID, UsageRecord],
    debits: dict[uuid.UUID, int],
) -> None:
    ids = Counter(attempt.request_id for attempt in attempts if attempt.request_id)
    verdict.require(all(count == 1 for count in ids.values()), "a request id was given twice")
    for attempt in attempts:
        verdict.figures[attempt.ending] += 1
        record = records.get(attempt.paid_as) if attempt.paid_as else None
        if attempt.ending == Ending.WHOLE:
            verdict.require(record is not None, f"answered whole without a record: {attempt}")
            if record is not None:
                paid = -debits.get(record.id, 0)
                verdict.require(
                    paid == record.cost_micro == _price(attempt, record) > 0,
                    f"answered whole, priced {_price(attempt, record)}, paid {paid}: {attempt}",
                )
                verdict.require(record.user_id == attempt.user_id, f"somebody else paid: {attempt}")
        elif attempt.ending == Ending.OUT_OF_MONEY:
            paid = -debits.get(attempt.paid_as, 0) if attempt.paid_as else 0
            verdict.require(
                record is not None
                and paid == record.cost_micro == _price(replace(attempt, kind="cut"), record) > 0
                and record.completion_tokens * BYTES_PER_TOKEN >= attempt.letters,
                f"relayed and not paid: {attempt}",
            )
        elif attempt.ending in {Ending.ERROR_STATUS, Ending.ERROR_EVENT}:
            charged = record is not None and record.cost_micro
            verdict.require(
                not charged and attempt.request_id not in debits, f"charged for an error: {attempt}"
            )
            # A fault of the machinery passes, and is told with 503; 500 would be one of ours.
            verdict.require(attempt.detail != "internal_error", f"told of an internal error: {attempt}")
            verdict.require(
                attempt.detail != "idempotency_mismatch", f"the same body is another one: {attempt}"
            )
        elif record is not None and record.cost_micro and attempt.ending in {Ending.CUT, Ending.HUNG}:
            verdict.figures["paid, delivery cut"] += 1


def _price(attempt: Attempt, record: UsageRecord) -> int:
    """What the answer has to cost: by its pieces, by upstream's count, or by the estimate that stands in the record."""
    if attempt.pieces_micro:
        return attempt.pieces_micro
    if attempt.kind not in {"uncounted", "cut"}:
        return sum(usage_of(attempt.serial)) * PRICE
    return (record.prompt_tokens + record.completion_tokens) * PRICE


def _strangers(verdict: Verdict, attempts: list[Attempt], records: dict[uuid.UUID, UsageRecord]) -> None:
    """Charges whose request id no client ever learned: each must be of a request whose client heard nothing."""
    known = {attempt.request_id for attempt in attempts} | {attempt.original_id for attempt in attempts}
    asked = _by_serial(attempts)
    by_id = {attempt.request_id: attempt for attempt in attempts}
    by_usage = {(attempt.user_id, *usage_of(attempt.serial)): attempt for attempt in attempts}
    unheard = Counter(
        attempt.user_id for attempt in attempts if attempt.ending in UNHEARD and not attempt.request_id
    )
    estimates: Counter[int] = Counter()
    charges: defaultdict[int, int] = defaultdict(int)
    for record in records.values():
        if not record.cost_micro:
            continue
        is_reported = record.billed_by == UsageRecord.BilledBy.USAGE
        if is_reported and record.outcome == UsageRecord.Outcome.CLIENT_LEFT:
            # Messages tell the prompt at the beginning: it is reported, and the output is what was seen.
            if (attempt := by_id.get(record.id)) is None:
                is_reported = False
            else:
                verdict.require(
                    attempt.ending in UNHEARD and record.prompt_tokens == usage_of(attempt.serial)[0],
                    f"charged for another prompt: {record.id} {attempt}",
                )
                charges[attempt.serial] += 1
        elif is_reported:
            attempt = by_usage.get((record.user_id, record.prompt_tokens, record.completion_tokens))
            verdict.require(attempt is not None, f"charged for what nobody asked: {record.id}")
            if attempt is not None:
                charges[attempt.serial] += 1
        if record.id in known:
            continue
        verdict.figures["paid, delivery cut before its headers"] += 1
        if not is_reported:
            estimates[record.user_id] += 1
        elif attempt is not None:
            verdict.require(
                any(each.ending in UNHEARD and each.request_id is None for each in asked[attempt.serial]),
                f"charged under another id: {record.id} {attempt}",
            )
    verdict.require(all(count == 1 for count in charges.values()), "one request was charged twice")
    verdict.require(
        not estimates - unheard, f"more estimates charged than clients cut off: {estimates - unheard}"
    )


def _by_serial(attempts: list[Attempt]) -> dict[int, list[Attempt]]:
    asked = defaultdict(list)
    for attempt in attempts:
        asked[attempt.serial].append(attempt)
    return asked


def _repeats(
    verdict: Verdict,
    attempts: list[Attempt],
    records: dict[uuid.UUID, UsageRecord],
    *,
    long_outages: bool,
) -> None:
    """Of the requests with one Idempotency-Key, one is charged: the one that each of them was answered by, or told."""
    bills = defaultdict(list)
    for record in records.values():
        if record.client_request_id and record.billed_by != UsageRecord.BilledBy.NOTHING:
            bills[record.client_request_id].append(record)
    keep = set(AnswerKeeping.objects.values_list("pk", flat=True))
    for asked in _by_serial(attempts).values():
        if (key := asked[0].idempotency_key) is None:
            continue
        verdict.figures["Idempotency-Keys"] += 1
        verdict.figures["repeats"] += len(asked) - 1
        billed = bills[key]
        verdict.require(len(billed) <= 1, f"{len(billed)} charges of one key: {asked}")
        by_id = {attempt.request_id: attempt for attempt in asked}
        for attempt in asked:
            if attempt.ending in PAID:
                verdict.require(
                    [attempt.paid_as] == [record.id for record in billed],
                    f"another request of its key is charged: {attempt} {billed}",
                )
            if attempt.original_id is None:
                continue
            cost_micro = sum(record.cost_micro for record in billed)
            verdict.require(attempt.told_micro == cost_micro, f"cost {cost_micro}: {attempt}")
            if attempt.ending == Ending.NAMED:
                verdict.figures["answers that were not kept in time"] += attempt.user_id in keep
                verdict.require(
                    attempt.user_id not in keep or long_outages, f"its answer was not kept: {attempt}"
                )
            else:
                verdict.figures["replays"] += 1
                if attempt.original_id in by_id:
                    _same(verdict, attempt, by_id[attempt.original_id])


def _same(verdict: Verdict, replay: Attempt, first: Attempt) -> None:
    """To the byte, as far as both were heard. Signs of life are of the moment."""
    received = (each.received.replace(PING, b"") for each in (first, replay))
    shorter, longer = sorted(received, key=len)
    both_ended = {first.ending, replay.ending} <= PAID
    verdict.figures["replays of what was heard before"] += bool(shorter)
    verdict.figures["replays of what was heard whole"] += both_ended
    verdict.require(
        shorter == longer if both_ended else longer.startswith(shorter),
        f"another answer: {first} {first.received!r} {replay} {replay.received!r}",
    )


def _upstream(verdict: Verdict, attempts: list[Attempt], book: dict[int, Served]) -> None:
    tries = Counter(attempt.serial for attempt in attempts)
    for attempt in attempts:
        served = book.get(attempt.serial)
        if attempt.ending == Ending.WHOLE:
            verdict.require(
                served and served.finished and 1 <= served.calls <= tries[attempt.serial],
                f"upstream's book differs: {attempt} {served}",
            )
    verdict.figures["answers that upstream gave whole"] = sum(served.finished for served in book.values())


def _broken_connections(verdict: Verdict, attempts: list[Attempt], disruptions: list[Disruption]) -> None:
    """Only a web process's own death or sleep excuses a connection that broke.

    Sound as it comes has no words for a failure: breaking off is how it is told of one, and that costs nothing.
    """
    charged = set(
        UsageRecord.objects.filter(endpoint=SPEECH.endpoint, cost_micro__gt=0).values_list("id", flat=True)
    )
    for attempt in attempts:
        if attempt.ending in {Ending.CUT, Ending.HUNG}:
            is_told = attempt.client is SPEECH and not attempt.stream and attempt.request_id not in charged
            excused = is_told or any(
                disruption.part == f"web-{attempt.web}"
                and disruption.began <= attempt.ended + 0.5
                and attempt.began <= disruption.ended
                for disruption in disruptions
            )
            verdict.require(excused, f"{attempt.ending} though its web process lived: {attempt}")


def _topups(verdict: Verdict) -> None:
    """The sandbox gateway's book against ours: what was paid there is credited here, less VAT, and nothing else is."""
    book = {payment.authority: payment for payment in SandboxPayment.objects.all()}
    credited = {topup.authority: topup for topup in TopUp.objects.filter(status=TopUp.Status.CREDITED)}
    entries = Counter(
        JournalEntry.objects.filter(kind="topup", account="wallet").values_list(
            "transaction_id", "wallet_id", "amount_micro"
        )
    )
    for authority, payment in book.items():
        topup = credited.get(authority)
        if payment.status != SandboxPayment.Status.PAID:
            verdict.require(topup is None, f"credited without a payment: {authority}")
            continue
        verdict.figures["payments"] += 1
        verdict.require(topup is not None, f"paid and not credited: {authority}")
        if topup is not None:
            verdict.require(
                (topup.payable_micro, topup.ref_id) == (payment.amount_micro, payment.ref_id),
                f"credited something else than was paid: {authority}",
            )
            verdict.require(
                entries[(topup.pk, topup.user_id, topup.amount_micro)] == 1, f"not booked once: {authority}"
            )
    verdict.require(set(credited) <= set(book), "credited what the gateway never saw")
    verdict.require(len(entries) == len(credited), "top-ups in the journal that are none")
    paid = sum(p.amount_micro for p in book.values() if p.status == SandboxPayment.Status.PAID)
    booked = -sum(
        JournalEntry.objects.filter(kind="topup", account="gateway").values_list("amount_micro", flat=True)
    )
    verdict.require(paid == booked, f"the gateway took {paid}, the journal says {booked} micro-Rial")


def _wallets(verdict: Verdict) -> None:
    out = io.StringIO()
    try:
        call_command("check_ledger", stdout=out)
    except SystemExit:
        verdict.faults.append(out.getvalue())
    below = Wallet.objects.filter(Q(posted_micro__lt=F("held_micro")) | Q(held_micro__lt=0)).count()
    verdict.require(not below, f"{below} wallets below zero")
    verdict.require(
        not JournalEntry.objects.filter(balance_micro__lt=0).exists(), "a wallet was below zero in between"
    )
    verdict.require(not Hold.objects.exists(), f"holds outlive their expiry: {Hold.objects.count()}")
    verdict.require(not Wallet.objects.exclude(held_micro=0).exists(), "money is held by no hold")
    verdict.figures["journal entries"] = JournalEntry.objects.count()
    verdict.figures["charged requests"] = UsageRecord.objects.filter(cost_micro__gt=0).count()
