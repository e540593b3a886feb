"""One web process, one account in use and one Chromium for all that looks at pages."""

from collections.abc import Iterator

import pytest
from django.conf import settings
from django.core.management import call_command
from django.test import override_settings
from playwright.sync_api import Browser, sync_playwright
from pytest_django import DjangoDbBlocker

from proxy.catalogue import offers, starter
from proxy.catalogue.models import LanguageModel
from proxy.catalogue.prices.price_quote import PriceQuote
from tests.live import WebProcess, web_process
from tests.pages import seed
from tests.pages.visit import CHROMIUM, FLAGS
from tests.proxy.api.conftest import take_off_sale


@pytest.fixture(scope="package")
def static_files() -> None:
    """The web process serves what was collected, under names that carry a digest, as in production."""
    storages = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "config.pages.static_files.StaticFilesStorage"},
    }
    with override_settings(STORAGES=storages):
        call_command("collectstatic", interactive=False, verbosity=0, ignore_patterns=["rest_framework"])


@pytest.fixture(scope="package")
def web(
    django_db_setup: None, django_db_blocker: DjangoDbBlocker, static_files: None
) -> Iterator[WebProcess]:
    """What other tests sell is off sale meanwhile: the pages are those of an installation with one model of chats."""
    with django_db_blocker.unblock(), web_process(env=seed.BOTS) as process:
        seed.introduce_bots()
        others = list(LanguageModel.objects.filter(is_active=True).values_list("model_id", flat=True))
        take_off_sale(*others)
        offers.add_model(
            model_id=seed.MODEL,
            upstream_url=f"{process.url}/sandbox/upstream/v1",
            upstream_key="sandbox",
            upstream_model=starter.MODEL_ID,
            price=PriceQuote(300_000, 1_800_000),
        )
        for model_id, sandbox_model in seed.MODELS_BESIDE_CHAT.items():
            sold = starter.SANDBOX_MODELS[sandbox_model]
            offers.add_model(
                model_id=model_id,
                upstream_url=f"{process.url}/sandbox/upstream/v1",
                upstream_key="sandbox",
                upstream_model=sandbox_model,
                price=sold.price,
                protocols=[sold.endpoint],
                free_meant=True,  # of tokens, where pieces are paid for
            )
        yield process
        take_off_sale(seed.MODEL, *seed.MODELS_BESIDE_CHAT)
        LanguageModel.objects.filter(model_id__in=others).update(is_active=True)


@pytest.fixture(scope="package")
def account(web: WebProcess, django_db_blocker: DjangoDbBlocker) -> seed.Account:
    with django_db_blocker.unblock():
        return seed.account(web.url)


@pytest.fixture(scope="package")
def browser(web: WebProcess, account: seed.Account) -> Iterator[Browser]:
    """Comes last: while Playwright's loop runs in this thread, Django refuses to ask the database."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        yield chromium
        chromium.close()
