"""Who sees what of the business: by the rights that open the rows behind each figure."""

from dataclasses import dataclass

from django.contrib.auth.models import AnonymousUser

from accounts.models import User


@dataclass(frozen=True, slots=True)
class Sight:
    """`sales`: what is billed, what it costs and what remains. `payments`: money taken, beside the payments."""

    requests: bool
    sales: bool
    customers: bool
    payments: bool
    topups: bool
    holds: bool
    wallets: bool
    codes: bool
    notices: bool
    upstreams: bool


def of(user: User | AnonymousUser) -> Sight:
    sales, topups = user.has_perm("proxy.view_routesales"), user.has_perm("wallet.view_topup")
    return Sight(
        requests=user.has_perm("proxy.view_usagerecord"),
        sales=sales,
        customers=user.has_perm("proxy.view_customersales") and user.has_perm("accounts.view_user"),
        payments=sales and topups,
        topups=topups,
        holds=user.has_perm("wallet.view_hold"),
        wallets=user.has_perm("wallet.view_wallet"),
        codes=user.has_perm("accounts.view_challenge"),
        notices=user.has_perm("accounts.view_notice"),
        upstreams=user.has_perm("proxy.view_upstream"),
    )
