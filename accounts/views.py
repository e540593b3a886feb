"""Sign-in in two pages, number and code, and sign-out."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from accounts import challenges, known_browser, pending, sessions, sign_in, wording
from accounts.forms import CodeForm, MobileForm
from accounts.shared import addresses
from accounts.shared.redirects import local_path
from accounts.sms import sending

# Only where the console is the telephone: carries the code to the next page without a trace in the database.
SANDBOX_COOKIE = "sandbox_code"


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def number_page(request: HttpRequest) -> HttpResponse:
    destination = local_path(
        request.POST.get("next") or request.GET.get("next"), default=resolve_url(settings.LOGIN_REDIRECT_URL)
    )
    if request.user.is_authenticated:
        return redirect(destination)
    form = MobileForm(request.POST or None)
    status = 200
    if form.is_valid():
        mobile = form.cleaned_data["mobile"]
        try:
            return _send(request, mobile=mobile, destination=destination)
        except challenges.TooSoon as error:
            begun = pending.written_meanwhile(request)
            if begun is not None and begun.mobile == mobile:
                return redirect("accounts:code")
            form.add_error("mobile", wording.refusal(error))
            status = 429
        except challenges.Refused as error:
            form.add_error("mobile", wording.refusal(error))
            status = 429
        except sign_in.SendFailed as error:
            form.add_error("mobile", wording.send_failed(error))
            status = 503
        except sending.NotConfigured:
            return _not_configured(request)
    return render(request, "accounts/number.html", {"form": form, "next": destination}, status=status)


@never_cache
@sensitive_post_parameters("code")
@require_http_methods(["GET", "HEAD", "POST"])
def code_page(request: HttpRequest) -> HttpResponse:
    begun = pending.read(request)
    if request.user.is_authenticated:
        return redirect(begun.destination if begun else settings.LOGIN_REDIRECT_URL)
    if begun is None:
        return redirect("accounts:sign_in")
    now = timezone.now()
    form = CodeForm(request.POST or None)
    if form.is_valid():
        try:
            user = sign_in.verify_code(
                challenge_id=begun.challenge_id,
                browser_secret=begun.browser_secret,
                code=form.cleaned_data["code"],
                now=now,
            )
        except sign_in.WrongCode as error:
            form.add_error("code", wording.wrong_code(error))
        except challenges.NotValid:
            form.add_error("code", _("This code has expired. Ask for a new one below."))
        except sign_in.AccountClosed:
            form.add_error("code", _("This account is closed. Write to support to open it again."))
        else:
            pending.end(request)
            sessions.sign_in(request, user)
            response = redirect(begun.destination)
            response.delete_cookie(SANDBOX_COOKIE)
            known_browser.remember(response, mobile=user.mobile)
            return response
    context = {
        "form": form,
        "mobile": begun.mobile,
        "next": begun.destination,
        "resend_in_seconds": begun.resend_in_seconds(now=now),
        "sandbox_code": request.COOKIES.get(SANDBOX_COOKIE) if sending.is_console() else None,
    }
    return render(request, "accounts/code.html", context)


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def send_again(request: HttpRequest) -> HttpResponse:
    begun = pending.read(request)
    if request.user.is_authenticated or begun is None:
        return redirect("accounts:sign_in")
    if request.method != "POST":  # reloaded, or the language was changed on an error page
        return redirect("accounts:code")
    try:
        return _send(request, mobile=begun.mobile, destination=begun.destination)
    except challenges.Refused as error:
        messages.error(request, wording.refusal(error))
    except sign_in.SendFailed as error:
        messages.error(request, wording.send_failed(error))
    except sending.NotConfigured:
        return _not_configured(request)
    return redirect("accounts:code")


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    sessions.sign_out(request)
    return redirect(settings.LOGOUT_REDIRECT_URL)


def _send(request: HttpRequest, *, mobile: str, destination: str) -> HttpResponse:
    # REMOTE_ADDR is the client's: only our own server rewrites it, from a trusted proxy's header.
    address = addresses.counted(request.META.get("REMOTE_ADDR", ""))
    issued = sign_in.send_code(
        mobile=mobile,
        address=address,
        now=timezone.now(),
        is_known_browser=known_browser.is_known(request, mobile=mobile),
    )
    pending.begin(request, mobile=mobile, destination=destination, issued=issued)
    response = redirect("accounts:code")
    if sending.is_console():
        lifetime_seconds = int(challenges.LIFETIME.total_seconds())
        response.set_cookie(
            SANDBOX_COOKIE, issued.code, max_age=lifetime_seconds, httponly=True, samesite="Lax"
        )
    return response


def _not_configured(request: HttpRequest) -> HttpResponse:
    return render(request, "accounts/not_configured.html", status=503)
