"""What the document says of the endpoints beside chat: each as its own vendor's SDKs know it, told as one table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiRequest,
    OpenApiResponse,
    extend_schema,
)

from proxy.api.openapi.components import Schema, ref

FORM = "multipart/form-data"
OF_CHAT = ("messages_required", "invalid_messages")
OF_REPEATS = ("request_in_progress", "idempotency_replayed", "idempotency_mismatch")
HELLO = [{"role": "user", "content": "Hello!"}]
SPOKEN: Schema = {"type": "string", "format": "binary", "description": "Sound, in the format asked for."}


@dataclass(frozen=True, slots=True)
class Operation:
    """A POST. `target`: its view; `asked` and `answered`: components; `events`: what a stream of it is made of.

    `is_charged`: so that an Idempotency-Key prevents something. `is_anthropics`: its errors have Anthropic's shape.
    `not_refused_by`: the codes of other operations' kinds.
    """

    target: str
    operation_id: str
    summary: str
    description: str
    tag: str
    asked: str
    answered: str | Schema
    example: Mapping[str, Any] | None = None
    events: str = ""
    is_anthropics: bool = False
    is_charged: bool = True
    media_type: str = "application/json"
    asked_as: str = "application/json"
    not_refused_by: Sequence[str] = OF_CHAT

    @property
    def name(self) -> str:
        return self.target.rpartition(".")[2]

    def schema(self, parameters: list[OpenApiParameter], refusals: Mapping[Any, OpenApiResponse]) -> Any:
        answered = ref(self.answered) if isinstance(self.answered, str) else self.answered
        responses: dict[Any, OpenApiResponse] = {
            (200, self.media_type): OpenApiResponse(answered, description=f"{self.summary}: the answer.")
        }
        if self.events:
            events: Schema = {"type": "string", "description": self.events}
            responses[(200, "text/event-stream")] = OpenApiResponse(events)
        examples = [] if self.example is None else [OpenApiExample("whole", value=dict(self.example))]
        return extend_schema(
            operation_id=self.operation_id,
            summary=self.summary,
            description=self.description,
            tags=[self.tag],
            parameters=parameters,
            request={self.asked_as: OpenApiRequest(ref(self.asked), examples=examples)},
            responses={**responses, **refusals},
        )


OPERATIONS = (
    Operation(
        "proxy.api.responses.view.Responses",
        "createResponse",
        "Create a response",
        "OpenAI's Responses API, stateless: nothing is stored, so the whole input is sent each time and "
        "`previous_response_id` is refused. Models whose upstream speaks chat alone are translated; what could not be "
        "passed on is named in `x-hamiran-left-out`. An empty wallet is 429 here, with code `insufficient_balance`: "
        "agents repeat a 402.",
        "Responses",
        "ResponsesRequest",
        "Response",
        {"model": "MODEL_ID", "input": "Hello!"},
        events="Named events with a `sequence_number`, at the end `response.completed`, `.incomplete` or `.failed`.",
    ),
    Operation(
        "proxy.api.messages.view.Messages",
        "createMessage",
        "Create a message",
        "Anthropic's Messages API. Models whose upstream speaks chat alone are translated; what could not be passed on "
        "is named in `x-hamiran-left-out`. Errors have Anthropic's shape, with our `code` beside the type.",
        "Messages",
        "MessagesRequest",
        "AnthropicMessage",
        {"model": "MODEL_ID", "max_tokens": 100, "messages": HELLO},
        events="Named events from `message_start` to `message_stop`, `ping` among them, or `error`.",
        is_anthropics=True,
    ),
    Operation(
        "proxy.api.messages.count_tokens.CountTokens",
        "countMessageTokens",
        "Count the tokens of a message",
        "Free of charge, with a limit of its own. The header `x-hamiran-estimated` is `true` where no tokenizer of the "
        "model could be asked.",
        "Messages",
        "CountTokensRequest",
        "TokenCount",
        {"model": "MODEL_ID", "messages": HELLO},
        is_anthropics=True,
        is_charged=False,
        not_refused_by=(*OF_CHAT, *OF_REPEATS),
    ),
    Operation(
        "proxy.api.completions.view.Completions",
        "createCompletion",
        "Complete a text",
        "OpenAI's legacy completions: a prompt, several, or lists of tokens; one object, or server-sent events.",
        "Completions",
        "CompletionRequest",
        "Completion",
        {"model": "MODEL_ID", "prompt": "Once upon a time"},
        events="Events `data: …`, at the end `data: [DONE]`.",
    ),
    Operation(
        "proxy.api.embeddings.view.Embeddings",
        "createEmbeddings",
        "Embed texts",
        "Vectors of one text or of many, as floats or base64. Input alone is charged.",
        "Embeddings",
        "EmbeddingsRequest",
        "Embeddings",
        {"model": "MODEL_ID", "input": ["one text", "another"]},
    ),
    Operation(
        "proxy.api.moderations.view.Moderations",
        "createModeration",
        "Classify texts and images",
        "Charged by the request, and free where the model's price list says nothing of requests.",
        "Moderations",
        "ModerationsRequest",
        "Moderations",
        {"input": "a text to classify"},
    ),
    Operation(
        "proxy.api.images.generations.ImageGenerations",
        "createImage",
        "Create images",
        "Charged by the image of a size and quality, or by tokens where the price list has those and the upstream "
        "reports them.",
        "Images",
        "ImagesRequest",
        "Images",
        {"model": "MODEL_ID", "prompt": "a walnut tree in autumn", "size": "1024x1024"},
        events="Named events with parts of the image, where `stream` asks for them.",
    ),
    Operation(
        "proxy.api.images.edits.ImageEdits",
        "createImageEdit",
        "Edit images",
        "A form with images, a prompt and perhaps a mask. Charged as images that are created.",
        "Images",
        "ImageEditForm",
        "Images",
        asked_as=FORM,
    ),
    Operation(
        "proxy.api.audio.transcriptions.Transcriptions",
        "createTranscription",
        "Write down what is said",
        "A form with a file of up to 25 MB. Charged by whole seconds of sound, measured from the file before anything "
        "is held, or by tokens where the upstream reports them. JSON, text, SRT or VTT.",
        "Audio",
        "TranscriptionForm",
        "Transcription",
        asked_as=FORM,
        events="Events with pieces of the text and at the end all of it, where `stream` asks for them.",
    ),
    Operation(
        "proxy.api.audio.transcriptions.Translations",
        "createTranslation",
        "Write down in English what is said",
        "A form with a file of up to 25 MB. Charged as a transcription.",
        "Audio",
        "TranscriptionForm",
        "Transcription",
        asked_as=FORM,
    ),
    Operation(
        "proxy.api.audio.speech.Speech",
        "createSpeech",
        "Speak a text",
        "Sound as it is made. Charged by the characters of `input` and `instructions`, or by reported tokens.",
        "Audio",
        "SpeechRequest",
        SPOKEN,
        {"model": "MODEL_ID", "voice": "alloy", "input": "Hello!"},
        events="Events with pieces of sound, where `stream_format` is `sse`.",
        media_type="audio/*",
    ),
)
