from django.urls import include, path

from accounts import settings_views, views
from accounts.channels import views as channel_views
from accounts.signals import views as webhook_views

app_name = "accounts"
webhooks = [
    path("", webhook_views.list_page, name="webhooks"),
    path("add/", webhook_views.add, name="webhook_add"),
    path("<int:endpoint_id>/", webhook_views.detail, name="webhook"),
    path("<int:endpoint_id>/edit/", webhook_views.edit, name="webhook_edit"),
    path("<int:endpoint_id>/secret/", webhook_views.rotate, name="webhook_rotate"),
    path("<int:endpoint_id>/delete/", webhook_views.delete, name="webhook_delete"),
    path("<int:endpoint_id>/pause/", webhook_views.pause, name="webhook_pause"),
    path("<int:endpoint_id>/resume/", webhook_views.resume, name="webhook_resume"),
    path("<int:endpoint_id>/test/", webhook_views.send_test, name="webhook_test"),
    path("<int:endpoint_id>/<int:delivery_id>/", webhook_views.delivery_page, name="webhook_delivery"),
    path("<int:endpoint_id>/<int:delivery_id>/replay/", webhook_views.replay, name="webhook_replay"),
]
urlpatterns = [
    path("sign-in/", views.number_page, name="sign_in"),
    path("sign-in/code/", views.code_page, name="code"),
    path("sign-in/code/again/", views.send_again, name="send_again"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("settings/", settings_views.settings_page, name="settings"),
    path("settings/notices/", channel_views.choose, name="choose_channels"),
    path("settings/notices/<slug:channel>/connect/", channel_views.connect, name="connect_channel"),
    path("settings/notices/<slug:channel>/connected/", channel_views.connected, name="channel_connected"),
    path("settings/notices/<slug:channel>/disconnect/", channel_views.disconnect, name="disconnect_channel"),
    path("settings/webhooks/", include(webhooks)),
    path("settings/sessions/end-others/", settings_views.end_others, name="end_other_sessions"),
    path("settings/sessions/<slug:session_id>/end/", settings_views.end_session, name="end_session"),
]
