"""How many seconds of sound a file holds: a program of its own, since FFmpeg reads what strangers wrote.

    python measure.py < FILE

Writes the seconds, rounded up. It counts the samples that the file's packets hold, whatever its head and its clock say;
where only decoding tells them, it decodes. What breaks it, or takes too long, breaks nothing else.
"""

import math
import resource
import sys
from dataclasses import dataclass
from typing import Any, BinaryIO

import av

CPU_SECONDS = 20
MEMORY_BYTES = 2**30
# Which demuxer reads a file that begins so. Others, as those of playlists, would open further files.
BEGINNINGS = {
    "wav": (b"RIFF", b"RF64"),
    "flac": (b"fLaC",),
    "ogg": (b"OggS",),
    "matroska": (b"\x1a\x45\xdf\xa3",),
    "aac": (b"\xff\xf0", b"\xff\xf1", b"\xff\xf8", b"\xff\xf9"),
    "mp3": (b"ID3", b"\xff\xfb", b"\xff\xfa", b"\xff\xf3", b"\xff\xf2", b"\xff\xe3", b"\xff\xe2"),
}


# What a file hides from players is there all the same for others.
OPTIONS = {"ignore_editlist": "1"}
PADDING_SECONDS = 0.25  # what coders put around a sound, and its clock leaves out
OPUS_RATE = 48_000
OPUS_FRAMES = (*(480, 960, 1_920, 2_880) * 3, *(480, 960) * 2, *(120, 240, 480, 960) * 4)
OPUS_MAX = 5_760


@dataclass(slots=True)
class Length:
    """Of one stream, by its samples and by its clock, which may be missing or tell less than there is."""

    by_samples: float = 0.0
    by_packets: float = 0.0
    first: float = math.inf
    last: float = -math.inf

    def add(self, packet: "av.Packet[Any]") -> None:
        self.by_samples += samples_seconds(packet)
        if packet.time_base is None:
            return
        lasts = float((packet.duration or 0) * packet.time_base)
        self.by_packets += lasts
        if packet.pts is not None:
            at = float(packet.pts * packet.time_base)
            self.first, self.last = min(self.first, at), max(self.last, at + lasts)

    @property
    def seconds(self) -> float:
        # Packets of some containers do not say how long they are, only when they begin.
        by_clock = max(self.by_packets, self.last - self.first)
        return by_clock if self.by_samples <= by_clock + PADDING_SECONDS else self.by_samples


def samples_seconds(packet: "av.Packet[Any]") -> float:
    """How long the sound of a packet is as a decoder makes it."""
    codec = packet.stream.codec_context
    if not packet.size:
        return 0.0
    if codec.name in {"opus", "libopus"}:
        return opus_samples(bytes(packet)) / OPUS_RATE
    if codec.frame_size and codec.sample_rate:
        return float(codec.frame_size / codec.sample_rate)
    try:
        frames: Any = packet.decode()
    except av.FFmpegError:
        return 0.0
    return float(sum(frame.samples / frame.sample_rate for frame in frames))


def opus_samples(packet: bytes) -> int:
    """RFC 6716, 3.1: the first byte says how long a frame is, and with the second how many there are."""
    frames = (1, 2, 2, packet[1] & 63 if len(packet) > 1 else 0)[packet[0] & 3]
    return min(OPUS_FRAMES[packet[0] >> 3] * frames, OPUS_MAX)


def demuxer(beginning: bytes) -> str | None:
    if beginning[4:8] == b"ftyp":
        return "mp4"
    return next((name for name, starts in BEGINNINGS.items() if beginning.startswith(starts)), None)


def seconds(file: BinaryIO) -> int:
    """Raises ValueError for what is no sound that can be measured."""
    name = demuxer(file.read(16))
    if name is None:
        raise ValueError("an unknown format")
    file.seek(0)
    with av.open(file, "r", format=name, options=OPTIONS) as container:
        lengths = {stream.index: Length() for stream in container.streams.audio}
        for packet in container.demux(*container.streams.audio):
            lengths[packet.stream_index].add(packet)
    longest = max((length.seconds for length in lengths.values()), default=0.0)
    if not longest:
        raise ValueError("no sound")
    return max(math.ceil(round(longest, 3)), 1)


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    try:
        sys.stdout.write(f"{seconds(sys.stdin.buffer)}\n")
    except (ValueError, OSError, av.FFmpegError) as error:
        sys.exit(type(error).__name__)
