#!/bin/sh
# mutagen 1.48.1 (PyPI): two MP3 files joined are as long as the first.
#
# MP3 frames can simply be put one behind the other, and players play all of them (`cat a.mp3 b.mp3`). The length is
# taken from the first frame, where encoders that know it write a count of frames, and the rest is not looked at. A
# service that charges by the second of sound and trusts that figure gives the second file away. tinytag 2.2.1 and
# FFmpeg's demuxer, whose packets are summed here, say the truth.
#
# Needs python3. Seen on 2026-11-30 (seconds; the files have 2 and 5):
#   mutagen 2   tinytag 7   packets, by PyAV 7
set -eu
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
cd "$dir"
python3 -m venv venv
venv/bin/pip install -q mutagen==1.48.1 tinytag==2.2.1 av==18.1.0 numpy==2.4.6
cat > ask.py <<'PYTHON'
import math
import sys

import av
import mutagen
import numpy
import tinytag

RATE = 44_100


def write(name, seconds):
    samples = numpy.sin(numpy.arange(RATE * seconds) * 2 * math.pi * 440 / RATE).astype("float32")
    with av.open(name, "w", format="mp3") as file:
        stream = file.add_stream("libmp3lame", rate=RATE, layout="mono")
        for start in range(0, len(samples), 1152):
            piece = samples[start : start + 1152]
            frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = RATE, start
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))


write("a.mp3", 2)
write("b.mp3", 5)
with open("both.mp3", "wb") as both:
    for name in ("a.mp3", "b.mp3"):
        with open(name, "rb") as one:
            both.write(one.read())
with av.open("both.mp3") as file:
    [stream] = file.streams.audio
    packets = sum(packet.duration or 0 for packet in file.demux(stream)) * stream.time_base
found = [round(float(seconds)) for seconds in (
    mutagen.File("both.mp3").info.length, tinytag.TinyTag.get("both.mp3").duration, packets,
)]
print("mutagen %d   tinytag %d   packets, by PyAV %d" % tuple(found))
sys.exit(found != [2, 7, 7])
PYTHON
venv/bin/python ask.py
