"""Containers that libsndfile does not read (M4A, WebM, ...) -> blocks of samples, by PyAV (FFmpeg).

PyAV is the extra ``media``; it is imported when a sound needs it.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any, BinaryIO, Final

import numpy as np

from ser_edge.audio.base import BLOCK_SAMPLES, AudioError, Float32, clause, reason
from ser_edge.audio.containers import NO_SOUND, Container, View, after_tags
from ser_edge.audio.resample import Stream

_MAX_TRACKS: Final = 64  # of a film in many languages; each costs ffmpeg memory and time


def decode_media(file: BinaryIO, name: str, container: Container) -> Stream:
    """The first sound track of a file.

    Raises
    ------
    AudioError
        No sound track, an unknown codec, damaged, or not readable.
    """
    # The demuxer is named from the first bytes: ffmpeg's own guess would also take playlists, which
    # open other files and addresses.
    import av

    view = View(file, after_tags(file), file.seek(0, io.SEEK_END))
    try:
        media = av.open(
            view,
            mode="r",
            format=container.demuxer,
            options={"max_streams": str(_MAX_TRACKS)},
            **_lenient(av.__version__),
        )
        tracks = media.streams.audio
        if not tracks:
            raise AudioError(name, f"this {container.name} file holds no sound track")
        if tracks[0].codec_context is None:
            raise AudioError(name, f"this {container.name} file is in a codec unknown here")
        rate, channels = tracks[0].rate or 0, tracks[0].channels or 0
    except AudioError:
        raise
    except (av.error.FFmpegError, ValueError, OSError) as error:
        if view.failure is not None:
            raise AudioError(name, f"it cannot be read: {reason(view.failure)}") from None
        if view.spent:
            raise AudioError(name, f"its header is damaged ({NO_SOUND})") from None
        raise AudioError(
            name, f"it is cut off or damaged inside its {container.name} header ({clause(error)})"
        ) from None
    return Stream(rate, channels, _ffmpeg_blocks(media, view, channels, name))


def _lenient(release: str) -> dict[str, str]:
    """Options of PyAV that accept tags which are no UTF-8.

    From 19 on it always takes them so, and knows no such option.
    """
    return {"metadata_errors": "ignore"} if int(release.partition(".")[0]) < 19 else {}


def _ffmpeg_blocks(media: Any, view: View, channels: int, name: str) -> Iterator[Float32]:
    import av

    track = media.streams.audio[0]
    to_float = av.AudioResampler(format="fltp")
    pending: list[Float32] = []
    done = 0
    with media:
        try:
            for frame in media.decode(track):
                view.renew()
                for part in to_float.resample(frame):
                    pending.append(part.to_ndarray().T)
                    if pending[-1].shape[1] != channels:  # glued or damaged
                        at = f"after {done / track.rate:.2f} s"
                        raise AudioError(name, f"it changes its channels {at}")
                    done += len(pending[-1])
                if sum(part.size for part in pending) >= BLOCK_SAMPLES:
                    yield np.concatenate(pending).astype(np.float32, copy=False)
                    pending.clear()
        except AudioError:
            raise
        except (av.error.FFmpegError, ValueError, OSError) as error:
            at = f"after {done / track.rate:.2f} s"
            raise AudioError(name, f"it is damaged {at} ({clause(error)})") from None
    if view.failure is not None:
        raise AudioError(name, f"it cannot be read: {reason(view.failure)}")
    if view.spent:
        raise AudioError(name, f"it is damaged after {done / track.rate:.2f} s ({NO_SOUND})")
    if pending:
        yield np.concatenate(pending).astype(np.float32, copy=False)
