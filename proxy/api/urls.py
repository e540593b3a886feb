"""Addresses of the lean door (config.asgi): the API, and what load balancers ask."""

from django.urls import path

from proxy.api.account.balance import Balance
from proxy.api.account.key import CurrentKey
from proxy.api.account.requests import Lookup, Request
from proxy.api.account.transactions import Transactions
from proxy.api.account.usage import Usage
from proxy.api.audio.speech import Speech
from proxy.api.audio.transcriptions import Transcriptions, Translations
from proxy.api.chat_completions import view as chat_view
from proxy.api.completions.view import Completions
from proxy.api.embeddings.view import Embeddings
from proxy.api.images.edits import ImageEdits
from proxy.api.images.generations import ImageGenerations
from proxy.api.manage.keys import Key, Keys, Rotate
from proxy.api.messages.count_tokens import CountTokens
from proxy.api.messages.view import Messages
from proxy.api.models import Model, Models
from proxy.api.moderations.view import Moderations
from proxy.api.public.models import PublicModels
from proxy.api.public.price_history import PublicPriceHistory
from proxy.api.public.status import PublicStatus
from proxy.api.responses import view as responses_view
from proxy.api.service import Healthz, Metrics, OpenAPI, Readyz

urlpatterns = [
    path("v1/chat/completions", chat_view.ChatCompletions.as_view()),
    path("v1/responses", responses_view.Responses.as_view()),
    path("v1/messages", Messages.as_view()),
    path("v1/messages/count_tokens", CountTokens.as_view()),
    path("v1/completions", Completions.as_view()),
    path("v1/embeddings", Embeddings.as_view()),
    path("v1/moderations", Moderations.as_view()),
    path("v1/audio/speech", Speech.as_view()),
    path("v1/audio/transcriptions", Transcriptions.as_view()),
    path("v1/audio/translations", Translations.as_view()),
    path("v1/images/edits", ImageEdits.as_view()),
    path("v1/images/generations", ImageGenerations.as_view()),
    path("v1/models", Models.as_view()),
    path("v1/models/<path:model_id>", Model.as_view()),
    path("v1/key", CurrentKey.as_view()),
    path("v1/balance", Balance.as_view()),
    path("v1/requests/lookup", Lookup.as_view()),
    path("v1/requests/<str:request_id>", Request.as_view()),
    path("v1/usage", Usage.as_view()),
    path("v1/transactions", Transactions.as_view()),
    path("v1/manage/keys", Keys.as_view()),
    path("v1/manage/keys/<str:key_id>", Key.as_view()),
    path("v1/manage/keys/<str:key_id>/rotate", Rotate.as_view()),
    path("v1/openapi.json", OpenAPI.as_view()),
    path("public/models.json", PublicModels.as_view()),
    path("public/prices/history.json", PublicPriceHistory.as_view()),
    path("public/status.json", PublicStatus.as_view()),
    path("metrics", Metrics.as_view()),
    path("healthz", Healthz.as_view()),
    path("readyz", Readyz.as_view()),
]
