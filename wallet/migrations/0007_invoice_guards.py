"""The rate of VAT, the rows that there is one of, invoices for what was credited before, and what is never changed."""

from datetime import date

from django.db import migrations

APPEND_ONLY = """
CREATE TRIGGER invoice_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_invoice
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_append_only();
CREATE TRIGGER vat_rate_write_once BEFORE UPDATE OR DELETE OR TRUNCATE ON wallet_vatrate
    FOR EACH STATEMENT EXECUTE FUNCTION wallet_append_only();
"""
# These were credited without VAT; the seller is whoever the operator will be, who knows it from the date.
EARLIER_TOPUPS = """
INSERT INTO wallet_invoice (number, topup_id, issued_at, seller_name, seller_economic_code, seller_national_id,
    seller_address, seller_postal_code, buyer_mobile, buyer_name, buyer_economic_code, buyer_national_id,
    buyer_address, buyer_postal_code, net_micro, vat_basis_points, vat_micro, total_micro)
SELECT row_number() OVER (ORDER BY t.credited_at, t.id), t.id, t.credited_at, '', '', '', '', '',
    u.mobile, '', '', '', '', '', t.amount_micro, 0, 0, t.amount_micro
FROM wallet_topup t JOIN accounts_user u ON u.id = t.user_id WHERE t.status = 'credited';
UPDATE wallet_invoicecounter SET last_number = (SELECT count(*) FROM wallet_invoice);
"""


def add_rows(apps, schema_editor):
    apps.get_model("wallet", "SellerDetails").objects.create()
    apps.get_model("wallet", "InvoiceCounter").objects.create()
    # 10% since the first of Farvardin 1403.
    apps.get_model("wallet", "VATRate").objects.create(basis_points=1_000, valid_from=date(2024, 3, 20))


class Migration(migrations.Migration):
    dependencies = [("wallet", "0006_vat_and_invoices"), ("accounts", "0001_initial")]
    operations = [
        migrations.RunPython(add_rows, migrations.RunPython.noop),
        migrations.RunSQL(EARLIER_TOPUPS, migrations.RunSQL.noop),
        migrations.RunSQL(
            APPEND_ONLY,
            "DROP TRIGGER invoice_append_only ON wallet_invoice; DROP TRIGGER vat_rate_write_once ON wallet_vatrate;",
        ),
    ]
