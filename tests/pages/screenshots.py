"""Pictures of every page in both languages and colour schemes, on a phone and at a desk: `make screenshots`.

They go to var/screenshots, with index.html as their contact sheet. Not collected with the tests.
"""

import random
from collections.abc import Iterator
from copy import copy
from datetime import timedelta
from pathlib import Path
from uuid import UUID

import pytest
import uuid_utils.compat as uuid
from django.conf import settings
from django.contrib.admin import site
from django.utils import timezone
from playwright.sync_api import Browser
from pytest_django import DjangoDbBlocker

from accounts.models import User
from proxy.usage import rollups
from proxy.usage.models import UsageRecord
from proxy.usage.sales import counting as sales
from tests.live import WebProcess
from tests.pages import back_office, seed
from tests.pages.places import PLACES, Place
from tests.pages.visit import DESK, MARKS, PHONE, Visit

pytestmark = MARKS

FOLDER = settings.BASE_DIR / "var" / "screenshots"
SIZES = {"phone": PHONE, "desktop": DESK}
LOOKS = [
    (language, scheme, size) for language in ("fa", "en") for scheme in ("light", "dark") for size in SIZES
]
DAYS, BUSIEST_HOURS = 30, range(9, 24)


def _of_the_admin() -> Iterator[Place]:
    """Each model's list, a row of it and the form that adds one: a model that is new is pictured by itself."""
    for model in site._registry:
        name = model._meta.label_lower
        path = f"/admin/{name.replace('.', '/')}/"
        yield Place(f"list-{name}", path, is_admin=True)
        yield Place(f"add-{name}", f"{path}add/", is_admin=True)
        yield Place(f"change-{name}", f"{path}{{{back_office.key(name)}}}/change/", is_admin=True)


# What is only looked at; tests read what these pages say.
STOCK = (
    *_of_the_admin(),
    Place("admin-upstream-test", "/admin/proxy/upstream/{upstream}/test/", is_admin=True),
    Place("admin-figures-customers", "/admin/figures/customers/?period=30d", is_admin=True),
    Place("admin-app", "/admin/wallet/", is_admin=True),
    Place("admin-history", "/admin/accounts/user/{user}/history/", is_admin=True),
    Place("admin-delete", "/admin/proxy/upstream/{upstream}/delete/", is_admin=True),
    Place("admin-nothing-found", "/admin/accounts/user/?q=nobody", is_admin=True),
    Place("admin-password", "/admin/password_change/", is_admin=True),
    Place("admin-sign-in", "/admin/login/", signed_in=False),
)
PICTURED = (*PLACES, *STOCK)

SHEET = """<!doctype html>
<meta charset="utf-8">
<title>Screenshots</title>
<style>
body {{ font: 14px system-ui, sans-serif; margin: 24px; }}
table {{ border-collapse: collapse; }}
th, td {{ padding: 8px; vertical-align: top; text-align: start; border: 1px solid #ddd; }}
img {{ display: block; inline-size: 260px; block-size: 220px; object-fit: cover; object-position: top; }}
.phone img {{ inline-size: 130px; }}
</style>
<table>
<tr><th></th>{heads}</tr>
{rows}
</table>
"""


@pytest.fixture(scope="package")
def account(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> seed.Account:
    """The account of the tests, after a month of use."""
    with django_db_blocker.unblock():
        made = seed.account(web.url)
        _a_month_of_use(UUID(made.ids["request"]))
        made.ids.update(back_office.rows(User.objects.get(pk=made.ids["user"]), model=seed.MODEL))
        return made


@pytest.fixture(scope="module")
def windows() -> Iterator[dict[tuple[object, ...], Visit]]:
    """Those that are open, by look and by who is signed in: to open one takes longer than a page."""
    opened: dict[tuple[object, ...], Visit] = {}
    yield opened
    for visit in opened.values():
        visit.close()


@pytest.fixture(scope="module", autouse=True)
def sheet() -> Iterator[None]:
    FOLDER.mkdir(parents=True, exist_ok=True)
    yield
    _write_sheet(FOLDER)


@pytest.mark.parametrize("place", PICTURED, ids=lambda place: place.name)
@pytest.mark.parametrize("look", LOOKS, ids="-".join)
def test_every_page_is_pictured(
    web: WebProcess,
    browser: Browser,
    account: seed.Account,
    windows: dict[tuple[object, ...], Visit],
    look: tuple[str, str, str],
    place: Place,
) -> None:
    language, scheme, size = look
    window = language, size, place.signed_in, place.is_admin
    if window not in windows:
        cookies = place.cookies(account)
        windows[window] = Visit(browser, web.url, language=language, size=SIZES[size], cookies=cookies)
    page = windows[window].page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light", reduced_motion="reduce")
    answer = page.goto(place.path.format(**account.ids))
    assert answer is not None
    if place.name.startswith("add-") and answer.status == 403:
        pytest.skip("nobody adds one by hand")
    assert answer.status == place.status
    place.arrive(page)
    page.screenshot(path=FOLDER / picture(place.name, *look), full_page=True)


def picture(place: str, language: str, scheme: str, size: str) -> str:
    return f"{place}-{language}-{scheme}-{size}.png"


def _write_sheet(folder: Path) -> None:
    heads = "".join(f"<th>{' · '.join(look)}</th>" for look in LOOKS)
    taken = {path.name for path in folder.glob("*.png")}
    rows = "\n".join(
        f"<tr><th>{place.name}</th>"
        + "".join(
            f'<td class="{look[2]}"><a href="{name}"><img src="{name}" alt="" loading="lazy"></a></td>'
            if name in taken
            else "<td></td>"
            for look in LOOKS
            for name in [picture(place.name, *look)]
        )
        + "</tr>"
        for place in PICTURED
    )
    (folder / "index.html").write_text(SHEET.format(heads=heads, rows=rows))


def _a_month_of_use(request_id: UUID) -> None:
    """Records like the account's own, back over a month: the only rows that nobody's calls have made."""
    pattern = UsageRecord.objects.get(pk=request_id)
    own = list(
        UsageRecord.objects.filter(key_id=pattern.key_id, outcome=UsageRecord.Outcome.COMPLETED).order_by(
            "pk"
        )
    )
    chance = random.Random(1405)
    today = timezone.localtime().replace(minute=0, second=0, microsecond=0)
    made = []
    for back in range(1, DAYS):
        day = today - timedelta(days=back)
        weekend = day.weekday() in (3, 4)
        for _ in range(chance.randint(4, 9) if weekend else chance.randint(12, 30) + (DAYS - back)):
            record = copy(chance.choice(own))
            record.pk = uuid.uuid7()
            record.created_at = day.replace(
                hour=chance.choice(BUSIEST_HOURS), minute=chance.randrange(60), second=chance.randrange(60)
            )
            record.prompt_tokens = chance.randint(200, 2_600)
            record.cached_tokens = chance.choice([0, 0, record.prompt_tokens // 2])
            record.completion_tokens = chance.randint(40, 900)
            record.first_byte_ms = int(chance.lognormvariate(5.9, 0.35))
            record.total_ms = record.first_byte_ms + record.completion_tokens * chance.randint(3, 7)
            record.outcome, record.status = UsageRecord.Outcome.COMPLETED, 200
            record.cost_micro = (
                (record.prompt_tokens - record.cached_tokens) * record.input_rial_per_million
                + record.cached_tokens * record.cached_input_rial_per_million
                + record.completion_tokens * record.output_rial_per_million
            )
            if chance.random() < 0.02:
                record.outcome, record.status = UsageRecord.Outcome.UPSTREAM_FAILED, 502
                record.billed_by = UsageRecord.BilledBy.NOTHING
                record.prompt_tokens = record.cached_tokens = record.completion_tokens = record.cost_micro = 0
            made.append(record)
    UsageRecord.objects.bulk_create(made)
    rollups.roll_up()
    sales.rebuild(since=today - timedelta(days=DAYS))
