"""Sounds of any length in the formats that people send."""

import io
import math
import struct
import wave
from functools import cache

import av

RATE = 16_000
# By format: FFmpeg's names of the container and the codec, and a rate that the codec takes.
FORMATS = {
    "mp3": ("mp3", "libmp3lame", RATE),
    "flac": ("flac", "flac", RATE),
    "ogg": ("ogg", "libopus", 48_000),
    "webm": ("webm", "libopus", 48_000),
    "m4a": ("mp4", "aac", RATE),
    "aac": ("adts", "aac", RATE),
}


@cache
def wav(seconds: float) -> bytes:
    with io.BytesIO() as file:
        with wave.open(file, "wb") as sound:
            sound.setnchannels(1)
            sound.setsampwidth(2)
            sound.setframerate(RATE)
            sound.writeframes(_samples(0, int(seconds * RATE), RATE))
        return file.getvalue()


@cache
def encoded(name: str, seconds: float) -> bytes:
    container_name, codec, rate = FORMATS[name]
    return _encoded(container_name, codec, rate, seconds)


def with_fast_clock(codec: str, seconds: float) -> bytes:
    """An MP4 whose clock runs a hundred times as fast as its sound."""
    sound = _encoded("mp4", codec, 48_000, seconds)
    at = sound.index(b"mdhd") + 16
    ticks = struct.unpack(">I", sound[at : at + 4])[0]
    return sound[:at] + struct.pack(">I", ticks * 100) + sound[at + 4 :]


def _encoded(container_name: str, codec: str, rate: int, seconds: float) -> bytes:
    with io.BytesIO() as file:
        with av.open(file, "w", format=container_name) as container:
            stream = container.add_stream(codec, rate=rate)
            assert isinstance(stream, av.AudioStream)
            stream.layout = "mono"
            total = int(seconds * rate)
            for start in range(0, total, 1024):
                count = min(1024, total - start)
                frame = av.AudioFrame(format="s16", layout="mono", samples=count)
                frame.sample_rate, frame.pts = rate, start
                plane = frame.planes[0]
                plane.update(_samples(start, count, rate).ljust(plane.buffer_size, b"\0"))
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return file.getvalue()


def _samples(start: int, count: int, rate: int) -> bytes:
    tone = [int(8_000 * math.sin(2 * math.pi * 440 * (start + number) / rate)) for number in range(count)]
    return struct.pack(f"<{count}h", *tone)
