"""Where Django finds this app's models: each stands with its subject."""

from wallet.credits.models import (
    Adjustment,
    BalanceState,
    PromoCode,
    PromoRedemption,
    PromoTries,
    SignUpCreditChange,
    SignUpCreditDay,
    WalletAlert,
)
from wallet.ledger.models import Budget, BudgetMark, Hold, JournalEntry, Wallet
from wallet.payments.invoice_models import BuyerDetails, Invoice, InvoiceCounter, SellerDetails, VATRate
from wallet.payments.models import GatewayChoice, SandboxPayment, TopUp

__all__ = [
    "Adjustment",
    "BalanceState",
    "Budget",
    "BudgetMark",
    "BuyerDetails",
    "GatewayChoice",
    "Hold",
    "Invoice",
    "InvoiceCounter",
    "JournalEntry",
    "PromoCode",
    "PromoRedemption",
    "PromoTries",
    "SandboxPayment",
    "SellerDetails",
    "SignUpCreditChange",
    "SignUpCreditDay",
    "TopUp",
    "VATRate",
    "Wallet",
    "WalletAlert",
]
