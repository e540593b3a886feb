"""What a model takes, what bounds its prompts, and by which name an upstream obeys the cap on an answer."""

from urllib.parse import urlsplit

from django.apps.registry import Apps
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

OPENAI_HOST = "api.openai.com"  # its newer models refuse `max_tokens`


def recognise_openai(apps: Apps, _editor: BaseDatabaseSchemaEditor | None) -> None:
    upstreams = apps.get_model("proxy", "Upstream").objects
    at_openai = [row.pk for row in upstreams.all() if urlsplit(row.base_url).hostname == OPENAI_HOST]
    upstreams.filter(pk__in=at_openai).update(limit_field="max_completion_tokens")


class Migration(migrations.Migration):

    dependencies = [
        ('proxy', '0008_gemini_by_host'),
    ]

    operations = [
        migrations.AddField(
            model_name='languagemodel',
            name='learned_context_tokens',
            field=models.PositiveIntegerField(blank=True, help_text='Above the declared context: from then on a prompt is bounded by its own length alone. Empty it when the context has been corrected.', null=True, verbose_name='longest prompt reported, tokens'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='learned_output_tokens',
            field=models.PositiveIntegerField(blank=True, help_text='Above the cap that was sent: from then on as much is held for every answer. Empty it when the upstream obeys.', null=True, verbose_name='longest answer reported, tokens'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='takes_audio',
            field=models.BooleanField(db_default=True, default=True, verbose_name='takes sound'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='takes_files',
            field=models.BooleanField(db_default=True, default=True, verbose_name='takes files and video'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='takes_images',
            field=models.BooleanField(db_default=True, default=True, verbose_name='takes images'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='takes_tools',
            field=models.BooleanField(db_default=True, default=True, verbose_name='takes tools'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='template_tokens',
            field=models.PositiveIntegerField(db_default=2048, default=2048, help_text='Held beside the text of each prompt. Raised by itself where the truth was above.', verbose_name='most tokens of the chat template'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='tokens_per_100_bytes',
            field=models.PositiveSmallIntegerField(db_default=100, default=100, help_text='Raised by itself where the truth was above.', verbose_name='most tokens per 100 bytes of text'),
        ),
        migrations.AddField(
            model_name='languagemodel',
            name='tools_tokens_per_100_bytes',
            field=models.PositiveSmallIntegerField(db_default=200, default=200, help_text='Templates write definitions of tools anew. Raised by itself where the truth was above.', verbose_name='most tokens per 100 bytes of tools'),
        ),
        migrations.AddField(
            model_name='upstream',
            name='limit_field',
            field=models.CharField(choices=[('max_tokens', 'max_tokens'), ('max_completion_tokens', 'max_completion_tokens'), ('both', 'both')], db_default='max_tokens', default='max_tokens', help_text='Every request is sent with a cap on its answer, the one that is held for.', max_length=21, verbose_name='name of the cap that it obeys'),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='kind',
            field=models.CharField(choices=[('openai', 'OpenAI and alike'), ('gemini', "Gemini's OpenAI-compatible endpoint"), ('llamacpp', 'llama.cpp')], db_default='openai', default='openai', help_text='What it does otherwise than OpenAI is evened out.', max_length=16, verbose_name='kind'),
        ),
        migrations.AlterField(
            model_name='upstream',
            name='on_disconnect',
            field=models.CharField(choices=[('cancel', 'cancel: stop it, bill what was relayed'), ('drain', 'drain: read on, bill what it reports')], default='cancel', help_text='Cancel gives away what the upstream makes and bills after it was told to stop, and what it had made but not yet sent. Drain reads and bills all of it.', max_length=8, verbose_name='when the client leaves'),
        ),
        migrations.AddConstraint(
            model_name='languagemodel',
            constraint=models.CheckConstraint(condition=models.Q(('tokens_per_100_bytes__gt', 0), ('tools_tokens_per_100_bytes__gt', 0)), name='model_token_rates_positive'),
        ),
        migrations.RunPython(recognise_openai, migrations.RunPython.noop),
    ]
