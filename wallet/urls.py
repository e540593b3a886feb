"""Addresses of the wallet pages, below /wallet/."""

from django.urls import path

from wallet import settings_views, views
from wallet.payments import invoice_views, sandbox_page
from wallet.statements import views as statement_views

app_name = "wallet"
urlpatterns = [
    path("", views.home, name="home"),
    path("statement/", statement_views.statement, name="statement"),
    path("statement.csv", statement_views.download, name="statement_csv"),
    path("invoices/", invoice_views.listing, name="invoices"),
    path("invoices/details/", invoice_views.details, name="invoice_details"),
    path("promo/", settings_views.redeem, name="redeem"),
    path("alert/", settings_views.choose_alert, name="choose_alert"),
    path("topups/", views.start_topup, name="start_topup"),
    path("topups/review/", views.review_topup, name="review_topup"),
    path("topups/<uuid:topup_id>/", views.topup, name="topup"),
    path("topups/<uuid:topup_id>/return/", views.topup_return, name="topup_return"),
    path("topups/<uuid:topup_id>/check/", views.check_topup, name="check_topup"),
    path("topups/<uuid:topup_id>/invoice/", invoice_views.invoice, name="invoice"),
    path("sandbox/<slug:authority>/", sandbox_page.payment, name="sandbox_payment"),
]
