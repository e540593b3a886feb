"""How many seconds of sound a file holds: a program of its own, since FFmpeg reads what strangers wrote.

    python measure.py < FILE

Writes the seconds, rounded up. It counts what the file's packets hold, whatever its head says, and decodes none. What
breaks it, or takes too long, breaks nothing else.
"""

import math
import resource
import sys
from typing import BinaryIO

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
    longest = 0.0
    with av.open(file, "r", format=name) as container:
        held: dict[int, float] = {}
        spans: dict[int, tuple[float, float]] = {}
        for packet in container.demux(*container.streams.audio):
            if packet.time_base is None or packet.pts is None:
                continue
            lasts, at = float((packet.duration or 0) * packet.time_base), float(packet.pts * packet.time_base)
            number = packet.stream_index
            held[number] = held.get(number, 0.0) + lasts
            first, last = spans.get(number, (at, at))
            spans[number] = min(first, at), max(last, at + lasts)
        # Packets of some containers do not say how long they are, only when they begin.
        longest = max((max(held[one], spans[one][1] - spans[one][0]) for one in held), default=0.0)
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
