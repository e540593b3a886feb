"""All settings, each from the environment; deploy/README.md lists them. Production has no insecure default."""

from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.utils.translation import gettext_lazy as _

from config import embedded
from config.env import (
    envbool,
    envchoice,
    envint,
    envlist,
    envsecret,
    envstr,
    networks,
    origins,
    secrets_in,
    versions_in,
)

BASE_DIR = Path(__file__).resolve().parent.parent
VAR_DIR = Path(envstr("HAMIRAN_VAR", str(BASE_DIR / "var"))).resolve()

# The sandbox is for one machine: codes on the page, a play payment gateway, a built-in upstream. It answers on
# loopback names alone, so that one that was meant to be production cannot be used by mistake.
MODE = envchoice("HAMIRAN_MODE", ("sandbox", "production"), "sandbox")
SANDBOX = MODE == "sandbox"
PORT = envint("PORT", 8000)
LOOPBACK = ["127.0.0.1", "localhost", "[::1]"]

DEBUG = False
DEVELOPMENT = False  # config.settings_development: `make dev`
_secrets_dir = VAR_DIR / "secrets" if SANDBOX else None
SECRET_KEY = envsecret("SECRET_KEY", generate_in=_secrets_dir)
# Peppers of key digests and one-time codes: "version:secret", newest first, so that a new one can be brought in.
PEPPERS = versions_in(envsecret("PEPPERS", generate_in=_secrets_dir), name="PEPPERS")
# Keys that encrypt secrets at rest, newest first (any text; a Fernet key is derived from each).
FIELD_KEYS = secrets_in(envsecret("FIELD_KEYS", generate_in=_secrets_dir), name="FIELD_KEYS")

ALLOWED_HOSTS = LOOPBACK if SANDBOX else envlist("ALLOWED_HOSTS", [])
BASE_URL = envstr("BASE_URL", f"http://127.0.0.1:{PORT}" if SANDBOX else None).rstrip("/")
if not SANDBOX and not BASE_URL.startswith("https://"):
    raise ImproperlyConfigured("BASE_URL must start with https:// in production.")
CSRF_TRUSTED_ORIGINS = [BASE_URL] if not SANDBOX else []

INSTALLED_APPS = [
    "config",
    "accounts",
    "keys",
    "wallet",
    "proxy",
    "config.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "rest_framework",
    "django_htmx",
    "django_otp",
    "config.apps.SignInsConfig",
    "config.apps.AuditLogConfig",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "config.pages.cookies.CookieMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "config.pages.language.LanguageMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django_otp.middleware.OTPMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "config.forwarded.AuditMiddleware",
    "axes.middleware.AxesMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.template.context_processors.i18n",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "csp.context_processors.nonce",
                "config.pages.context.site",
                "config.pages.context.look",
            ],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# --- engines -------------------------------------------------------------------------------------------------
# Where the embedded PostgreSQL's base backups and its log of every change go (config/wal_archive.py); none by default.
WAL_ARCHIVE = Path(folder).resolve() if (folder := envstr("WAL_ARCHIVE", "")) else None
DATABASE_URL = envsecret("DATABASE_URL", default=embedded.database_url(VAR_DIR))
REDIS_URL = envsecret("REDIS_URL", default=embedded.redis_url(VAR_DIR))
# Where the limits are counted; `redis+cluster://…` names any node of a Cluster, which Celery's broker cannot be.
LIMITS_URL = envsecret("LIMITS_URL", default=REDIS_URL)
DATABASES = {"default": embedded.django_database(DATABASE_URL)}
# A streaming replica that pages may be read from (accounts/shared/replica.py), and which models those are of.
REPLICA_URL = envsecret("REPLICA_URL", default="")
REPLICA_LAG_MAX_SECONDS = envint("REPLICA_LAG_MAX_SECONDS", 10, minimum=1)
REPLICA_MODELS = ("proxy.usagerecord", "proxy.usagerollup", "proxy.enduserrollup", "wallet.journalentry")
if REPLICA_URL:
    DATABASES["replica"] = embedded.django_database(REPLICA_URL)
    # Gone without a word, it costs a page no more than this before the primary is asked.
    DATABASES["replica"]["OPTIONS"] |= {"connect_timeout": 2, "tcp_user_timeout": 3000}
    DATABASES["replica"]["TEST"] = {"MIRROR": "default"}
    DATABASE_ROUTERS = ["accounts.shared.replica.Router"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

CELERY_BROKER_URL = REDIS_URL.replace("unix://", "redis+socket://", 1)
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
# Processes, since threads cannot be ended: a task that hangs is killed with its own (config.tasks.periodic).
CELERY_WORKER_POOL = "prefork"
CELERY_WORKER_CONCURRENCY = 8
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_MEMORY_PER_CHILD = 300_000  # KiB; one that has grown beyond is replaced after its task
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_TRANSPORT_OPTIONS = {"socket_timeout": 15, "socket_keepalive": True}
# Run late they lose nothing: each looks at what is there, not at when it was called. `expires` keeps a queue that
# nobody drained from running the same sweep a thousand times.
CELERY_BEAT_SCHEDULE = {
    "sweep-expired-holds": {
        "task": "wallet.sweep_expired_holds",
        "schedule": 15.0,
        "options": {"expires": 15},
    },
    "settle-returned-topups": {
        "task": "wallet.settle_returned_topups",
        "schedule": 30.0,
        "options": {"expires": 30},
    },
    "settle-unverified-payments": {
        "task": "wallet.settle_unverified_payments",
        "schedule": 300.0,
        "options": {"expires": 300},
    },
    "low-balance-alerts": {
        "task": "wallet.send_low_balance_alerts",
        "schedule": 60.0,
        "options": {"expires": 60},
    },
    "tell-of-budgets": {"task": "wallet.tell_of_budgets", "schedule": 30.0, "options": {"expires": 30}},
    "forget-budget-marks": {
        "task": "wallet.forget_budget_marks",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "tell-of-balances": {"task": "wallet.tell_of_balances", "schedule": 15.0, "options": {"expires": 15}},
    "recompute-tiers": {"task": "wallet.recompute_tiers", "schedule": 60.0, "options": {"expires": 60}},
    "roll-up-usage": {"task": "proxy.roll_up_usage", "schedule": 15.0, "options": {"expires": 15}},
    "keep-usage-partitions": {
        "task": "proxy.keep_usage_partitions",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "count-health": {"task": "proxy.count_health", "schedule": 30.0, "options": {"expires": 30}},
    "count-sales": {"task": "proxy.count_sales", "schedule": 60.0, "options": {"expires": 60}},
    "verify-ledger": {"task": "proxy.verify_ledger", "schedule": 6 * 3600.0, "options": {"expires": 3600}},
    # Each hour it is asked whether a day is to be proved.
    "prove-books": {"task": "config.prove_books", "schedule": 3600.0, "options": {"expires": 3600}},
    "purge-idempotency": {"task": "proxy.purge_idempotency", "schedule": 300.0, "options": {"expires": 300}},
    "flush-last-used": {"task": "proxy.flush_last_used", "schedule": 60.0, "options": {"expires": 60}},
    "purge-challenges": {
        "task": "accounts.purge_challenges",
        "schedule": 3600.0,
        "options": {"expires": 3600},
    },
    "count-messages": {"task": "accounts.count_messages", "schedule": 60.0, "options": {"expires": 60}},
    "deliver-webhooks": {"task": "accounts.deliver_webhooks", "schedule": 5.0, "options": {"expires": 5}},
    "purge-webhooks": {"task": "accounts.purge_webhooks", "schedule": 3600.0, "options": {"expires": 3600}},
    "send-notices-by-sms": {
        "task": "accounts.send_notices",
        "schedule": 15.0,
        "args": ["sms"],
        "options": {"expires": 15},
    },
    "send-notices-by-telegram": {
        "task": "accounts.send_notices",
        "schedule": 15.0,
        "args": ["telegram"],
        "options": {"expires": 15},
    },
    "send-notices-by-bale": {
        "task": "accounts.send_notices",
        "schedule": 15.0,
        "args": ["bale"],
        "options": {"expires": 15},
    },
    "poll-telegram": {
        "task": "accounts.poll_bot",
        "schedule": 15.0,
        "args": ["telegram"],
        "options": {"expires": 15},
    },
    "poll-bale": {
        "task": "accounts.poll_bot",
        "schedule": 15.0,
        "args": ["bale"],
        "options": {"expires": 15},
    },
    "purge-notices": {"task": "accounts.purge_notices", "schedule": 3600.0, "options": {"expires": 3600}},
    "purge-sessions": {"task": "accounts.purge_sessions", "schedule": 3600.0, "options": {"expires": 3600}},
}

# --- people --------------------------------------------------------------------------------------------------
AUTH_USER_MODEL = "accounts.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "accounts:sign_in"
LOGIN_REDIRECT_URL = "proxy:overview"
LOGOUT_REDIRECT_URL = "front"
# What opening an account does above `accounts`; each is called as f(user_id=…) inside the transaction that makes it.
ACCOUNT_OPENED = ["wallet.opening.open_wallet"]
# What signing a browser out ends above `accounts`; each is called as f(user_id=…) once its session is gone.
SESSIONS_ENDED = ["keys.lifecycle.end_session_key"]
# What /metrics tells beside what `proxy` knows; each is called as f() and yields families.
FIGURES = ["config.tasks.figures.of_the_work"]
# Whose cap a budget is: `wallet` counts it and knows no keys.
BUDGET_HOLDER = "keys.signals.holder_of"
# Hosts that a webhook may have although they are private or without TLS: whoever has an account can have them called.
WEBHOOK_ALLOWED_HOSTS = envlist("WEBHOOK_ALLOWED_HOSTS", ["127.0.0.1", "localhost", "::1"] if SANDBOX else [])
SMS_PROVIDER = envchoice(
    "SMS_PROVIDER",
    ("console", "kavenegar", "smsir", "none") if SANDBOX else ("kavenegar", "smsir", "none"),
    "console" if SANDBOX else "none",
)
KAVENEGAR_API_KEY = envsecret("KAVENEGAR_API_KEY", default="")
KAVENEGAR_TEMPLATE = envstr("KAVENEGAR_TEMPLATE", "")
KAVENEGAR_SENDER = envstr("KAVENEGAR_SENDER", "")
KAVENEGAR_BASE_URL = envstr("KAVENEGAR_BASE_URL", "https://api.kavenegar.com").rstrip("/")
SMSIR_API_KEY = envsecret("SMSIR_API_KEY", default="")
SMSIR_TEMPLATE_ID = envint("SMSIR_TEMPLATE_ID", 0)
SMSIR_LINE_NUMBER = envint("SMSIR_LINE_NUMBER", 0)
SMSIR_BASE_URL = envstr("SMSIR_BASE_URL", "https://api.sms.ir").rstrip("/")
if SMS_PROVIDER == "kavenegar" and not (KAVENEGAR_API_KEY and KAVENEGAR_TEMPLATE):
    raise ImproperlyConfigured(
        "SMS_PROVIDER is kavenegar, so KAVENEGAR_API_KEY and KAVENEGAR_TEMPLATE have to be set."
    )
if SMS_PROVIDER == "smsir" and not (SMSIR_API_KEY and SMSIR_TEMPLATE_ID):
    raise ImproperlyConfigured(
        "SMS_PROVIDER is smsir, so SMSIR_API_KEY and SMSIR_TEMPLATE_ID have to be set."
    )
if not SANDBOX and not all(url.startswith("https://") for url in (KAVENEGAR_BASE_URL, SMSIR_BASE_URL)):
    raise ImproperlyConfigured("SMS providers are asked over https:// in production.")
# Bots that write to people, where they choose it, in place of SMS; one without a token is not offered.
TELEGRAM_BOT_TOKEN = envsecret("TELEGRAM_BOT_TOKEN", default="")
TELEGRAM_BASE_URL = envstr("TELEGRAM_BASE_URL", "https://api.telegram.org").rstrip("/")
# Telegram is seldom reached from Iran without one; a secret, since it may carry a password.
TELEGRAM_PROXY = envsecret("TELEGRAM_PROXY", default="")
BALE_BOT_TOKEN = envsecret("BALE_BOT_TOKEN", default="")
BALE_BASE_URL = envstr("BALE_BASE_URL", "https://tapi.bale.ai").rstrip("/")
if TELEGRAM_PROXY and urlsplit(TELEGRAM_PROXY).scheme not in {"http", "https"}:
    raise ImproperlyConfigured("TELEGRAM_PROXY has to be an HTTP proxy, like http://10.0.0.5:3128.")
if not SANDBOX and not all(url.startswith("https://") for url in (TELEGRAM_BASE_URL, BALE_BASE_URL)):
    raise ImproperlyConfigured("Bots are asked over https:// in production.")
# One-time codes per hour: per client address (many people can share one), and in all, against SMS pumping.
CODES_PER_ADDRESS_HOUR = envint("CODES_PER_ADDRESS_HOUR", 60, minimum=1)
CODES_PER_HOUR = envint("CODES_PER_HOUR", 2_000, minimum=1)
# All SMS per hour, of whatever kind: what a fault or an attack can cost at most.
SMS_PER_HOUR = envint("SMS_PER_HOUR", 3_000)
OTP_TOTP_ISSUER = "Hamiran"
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_USERNAME_FORM_FIELD = "username"  # as the admin's form names it; the default would lock nobody out
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "otp_token", "csrfmiddlewaretoken"]
AXES_LOCKOUT_TEMPLATE = "429.html"
AXES_CLIENT_IP_CALLABLE = "config.forwarded.counted_address"
AXES_VERBOSE = False
AXES_ENABLE_ADMIN = False  # its pages know no Persian; ours are in accounts.audit_admin

# --- money ---------------------------------------------------------------------------------------------------
# The gateway of new payments, until an admin chooses another of those that are given here.
PAYMENT_GATEWAY = envchoice(
    "PAYMENT_GATEWAY",
    ("sandbox", "zarinpal", "zibal", "none") if SANDBOX else ("zarinpal", "zibal", "none"),
    "sandbox" if SANDBOX else "none",
)
# Zarinpal's own sandbox takes any UUID as merchant; Zibal's is the merchant `zibal`.
ZARINPAL_SANDBOX = envbool("ZARINPAL_SANDBOX", False)
ZARINPAL_MERCHANT_ID = envsecret("ZARINPAL_MERCHANT_ID", default=str(UUID(int=0)) if ZARINPAL_SANDBOX else "")
ZARINPAL_BASE_URL = envstr(
    "ZARINPAL_BASE_URL", f"https://{'sandbox' if ZARINPAL_SANDBOX else 'payment'}.zarinpal.com"
).rstrip("/")
ZIBAL_MERCHANT = envsecret("ZIBAL_MERCHANT", default="")
ZIBAL_BASE_URL = envstr("ZIBAL_BASE_URL", "https://gateway.zibal.ir").rstrip("/")
if PAYMENT_GATEWAY == "zarinpal" and not ZARINPAL_MERCHANT_ID:
    raise ImproperlyConfigured("PAYMENT_GATEWAY is zarinpal, so ZARINPAL_MERCHANT_ID has to be set.")
if PAYMENT_GATEWAY == "zibal" and not ZIBAL_MERCHANT:
    raise ImproperlyConfigured("PAYMENT_GATEWAY is zibal, so ZIBAL_MERCHANT has to be set.")
_real = (
    ZARINPAL_MERCHANT_ID and ZARINPAL_BASE_URL == "https://payment.zarinpal.com",
    ZIBAL_MERCHANT not in ("", "zibal") and ZIBAL_BASE_URL == "https://gateway.zibal.ir",
)
if SANDBOX and any(_real):
    raise ImproperlyConfigured(
        "No real money moves in the sandbox: use ZARINPAL_SANDBOX=true or ZIBAL_MERCHANT=zibal, "
        "or HAMIRAN_MODE=production."
    )
if not SANDBOX and not all(url.startswith("https://") for url in (ZARINPAL_BASE_URL, ZIBAL_BASE_URL)):
    raise ImproperlyConfigured("Payment gateways are asked over https:// in production.")
# A sandbox credits wallets that nobody paid for: right for a trial, wrong for customers.
PAYMENT_SANDBOXES = [
    said
    for is_sandbox, said in (
        (ZARINPAL_SANDBOX, "ZARINPAL_SANDBOX=true"),
        (
            urlsplit(ZARINPAL_BASE_URL).hostname == "sandbox.zarinpal.com",
            f"ZARINPAL_BASE_URL={ZARINPAL_BASE_URL}",
        ),
        (ZIBAL_MERCHANT == "zibal", "ZIBAL_MERCHANT=zibal"),
    )
    if is_sandbox
]
ALLOW_PAYMENT_SANDBOX = envbool("ALLOW_PAYMENT_SANDBOX", False)
if not SANDBOX and PAYMENT_SANDBOXES and not ALLOW_PAYMENT_SANDBOX:
    raise ImproperlyConfigured(
        f"{' and '.join(PAYMENT_SANDBOXES)}: that is a sandbox, whose top-ups cost nobody money. For a trial in "
        "production set ALLOW_PAYMENT_SANDBOX=true, and every page will say so."
    )
TOPUP_MIN_TOMAN = envint("TOPUP_MIN_TOMAN", 10_000)
TOPUP_MAX_TOMAN = envint("TOPUP_MAX_TOMAN", 50_000_000)
# What one user may start to pay in a day, by Tehran's calendar.
TOPUP_DAILY_MAX_TOMAN = envint("TOPUP_DAILY_MAX_TOMAN", 200_000_000)
# How many payments one user may start per hour without completing one of them.
TOPUP_STARTS_PER_HOUR = envint("TOPUP_STARTS_PER_HOUR", 10, minimum=1)
# A refund, correction or gift above this waits for a second admin.
ADJUSTMENT_APPROVAL_TOMAN = envint("ADJUSTMENT_APPROVAL_TOMAN", 1_000_000)
# Likewise what a tier gives to a new account; and what all new accounts of a day in Tehran are given together.
SIGN_UP_CREDIT_MAX_TOMAN = envint("SIGN_UP_CREDIT_MAX_TOMAN", 50_000)
SIGN_UP_CREDIT_DAILY_MAX_TOMAN = envint("SIGN_UP_CREDIT_DAILY_MAX_TOMAN", 20_000_000)
# What one admin may charge per million tokens. A price outside this range, or of zero, waits for a second admin.
PRICE_MIN_TOMAN = envint("PRICE_MIN_TOMAN", 100)
PRICE_MAX_TOMAN = envint("PRICE_MAX_TOMAN", 20_000_000, minimum=PRICE_MIN_TOMAN)

# --- API -----------------------------------------------------------------------------------------------------
BODY_MAX_BYTES = envint("BODY_MAX_BYTES", 20 * 1024 * 1024, minimum=1)
# Of all uploads that one process reads at once.
BODIES_MAX_BYTES = envint("BODIES_MAX_BYTES", 512 * 1024 * 1024)
# Of the answers that are kept for repeats, where an account has chosen that, of each account.
KEPT_ANSWERS_MAX_MB = envint("KEPT_ANSWERS_MAX_MB", 256)
BODY_IDLE_TIMEOUT_SECONDS = envint("BODY_IDLE_TIMEOUT_SECONDS", 30, minimum=1)
BODY_TOTAL_TIMEOUT_SECONDS = envint("BODY_TOTAL_TIMEOUT_SECONDS", 300, minimum=1)
UPSTREAM_BASE_URL = envstr("UPSTREAM_BASE_URL", "")
UPSTREAM_API_KEY = envsecret("UPSTREAM_API_KEY", default="")
# Hosts that an upstream may have although they are private or without TLS.
UPSTREAM_ALLOWED_HOSTS = envlist(
    "UPSTREAM_ALLOWED_HOSTS", ["127.0.0.1", "localhost", "::1"] if SANDBOX else []
)
UPSTREAM_CONNECT_TIMEOUT_SECONDS = envint("UPSTREAM_CONNECT_TIMEOUT_SECONDS", 5, minimum=1)
UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS = envint("UPSTREAM_FIRST_BYTE_TIMEOUT_SECONDS", 300, minimum=1)
UPSTREAM_IDLE_TIMEOUT_SECONDS = envint("UPSTREAM_IDLE_TIMEOUT_SECONDS", 300, minimum=1)
UPSTREAM_CONTENT_TIMEOUT_SECONDS = envint("UPSTREAM_CONTENT_TIMEOUT_SECONDS", 300, minimum=1)
UPSTREAM_TOTAL_TIMEOUT_SECONDS = envint("UPSTREAM_TOTAL_TIMEOUT_SECONDS", 600, minimum=1)
UPSTREAM_STREAM_TIMEOUT_SECONDS = envint("UPSTREAM_STREAM_TIMEOUT_SECONDS", 3600, minimum=1)
# Agents give up a connection that has been silent for long, and ask, and pay, again.
STREAM_PING_SECONDS = envint("STREAM_PING_SECONDS", 10, minimum=1)
# Completions that one process has upstream at once; each keeps two sockets and an answer's buffers.
IN_FLIGHT_MAX = envint("IN_FLIGHT_MAX", 5_000, minimum=1)
CLIENT_WRITE_TIMEOUT_SECONDS = envint("CLIENT_WRITE_TIMEOUT_SECONDS", 30, minimum=1)
# A hold outlives the longest whole answer with a margin, so that the sweeper never takes one from a living request;
# one of a stream is renewed as long as it lives.
HOLD_SECONDS = UPSTREAM_TOTAL_TIMEOUT_SECONDS + CLIENT_WRITE_TIMEOUT_SECONDS + 120
# A load balancer needs this long to notice; nobody is in front of the sandbox.
SHUTDOWN_DELAY_SECONDS = envint("SHUTDOWN_DELAY_SECONDS", 0 if SANDBOX else 5)
SHUTDOWN_GRACE_SECONDS = envint("SHUTDOWN_GRACE_SECONDS", 30)
WEB_PROCESSES = envint("WEB_PROCESSES", 1, minimum=1)

# Months of usage records beside the present one; 0: all there ever were.
USAGE_RETENTION_MONTHS = envint("USAGE_RETENTION_MONTHS", 0)

METRICS_TOKEN = envsecret("METRICS_TOKEN", default="")
# Traces of metered calls (proxy/wire/traces.py); everything else about them is read from OTEL_* by the library itself.
TRACING = bool(envstr("OTEL_EXPORTER_OTLP_ENDPOINT", "") or envstr("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", ""))
TRACE_UPSTREAMS = envbool("TRACE_UPSTREAMS", False)

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [],
    "DEFAULT_PERMISSION_CLASSES": [],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": [],
    "EXCEPTION_HANDLER": "proxy.http.responses.exception_handler",
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "OAS_VERSION": "3.1.1",
    "SCHEMA_PATH_PREFIX": "/v1",
    "SCHEMA_PATH_PREFIX_TRIM": True,  # /v1 belongs to the server's URL, as SDKs have it
    "POSTPROCESSING_HOOKS": [],
}

# --- language, time, static ------------------------------------------------------------------------------------
LANGUAGE_CODE = "fa"
LANGUAGES = [("fa", _("Persian")), ("en", _("English"))]
LOCALE_PATHS = [BASE_DIR / "config" / "locale"]
LANGUAGE_COOKIE_NAME = "hamiran_language"
LANGUAGE_COOKIE_AGE = 365 * 24 * 3600
LANGUAGE_COOKIE_SECURE = not SANDBOX
USE_TZ = True
TIME_ZONE = "Asia/Tehran"  # what people see; the database holds UTC
STATIC_URL = "/static/"
STATICFILES_DIRS = [BASE_DIR / "config" / "static"]
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
    "config.pages.fonts.FontFinder",
]
STATIC_ROOT = VAR_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "config.pages.static_files.StaticFilesStorage"},
}

# --- edge ------------------------------------------------------------------------------------------------------
# The proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.
FORWARDED_ALLOW_IPS = networks("FORWARDED_ALLOW_IPS", envlist("FORWARDED_ALLOW_IPS", ["127.0.0.1", "::1"]))
# Web pages of other origins that may call /v1 from a browser.
CORS_ALLOWED_ORIGINS = origins("CORS_ALLOWED_ORIGINS", envlist("CORS_ALLOWED_ORIGINS", []))
SESSION_ENGINE = "accounts.session_store"
SESSION_COOKIE_AGE = 30 * 24 * 3600
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"  # Lax, not Strict: it has to survive the return from the payment gateway
CSRF_COOKIE_HTTPONLY = True
CSRF_FAILURE_VIEW = "config.views.csrf_failure"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if not SANDBOX:
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SESSION_COOKIE_NAME, CSRF_COOKIE_NAME = "__Host-session", "__Host-csrf"
    SECURE_PROXY_SSL_HEADER = (
        ("HTTP_X_FORWARDED_PROTO", "https") if envbool("BEHIND_TLS_PROXY", True) else None
    )
    SECURE_SSL_REDIRECT = True
    SECURE_HSTS_SECONDS = 365 * 24 * 3600
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "media-src": ["blob:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}

LOGGING_CONFIG = "config.logging.configure"
LOGGING = {"level": envstr("LOG_LEVEL", "INFO").upper()}
