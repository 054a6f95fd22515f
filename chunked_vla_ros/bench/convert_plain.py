"""
The obvious way from bags to a dataset, as a program: ``convert_plain BAGS OUT CODEC PRESET CRF``.

The rosbags library reads; of every image the newest joints are taken; as LeRobot's add_frame does,
each image becomes a PNG file, and as its save_episode does, at the episode's end the statistics
are made of the files again and the video is encoded out of them. Written anew for the comparison.
"""

from __future__ import annotations

from pathlib import Path
import shutil
import sys
from typing import Any

import av
import numpy as np
from PIL import Image
import pyarrow as pa
import pyarrow.parquet as pq
from rosbags.highlevel import AnyReader

from chunked_vla_ros.bench.convert_bags import IMAGE_HZ, IMAGE_TOPIC, STATE_TOPIC
from chunked_vla_ros.core.dataset_statistics import sampled_rows
from chunked_vla_ros.data.kept_scheduling import kept_scheduling

# Those of LeRobot's image writer and encoder.
PNG_LEVEL = 1
KEYFRAME_EVERY = 2


def main() -> None:
    """Convert every bag in a folder, one after another."""
    bags, out = Path(sys.argv[1]), Path(sys.argv[2])
    encoder, preset, crf = sys.argv[3:6]
    for number, bag in enumerate(sorted(bags.iterdir())):
        images = out / 'images' / f'episode-{number:06d}'
        images.mkdir(parents=True)
        rows = _add_frames(bag, images)
        _statistics(images, len(rows))
        videos = out / 'videos'
        videos.mkdir(exist_ok=True)
        _encode(images, videos / f'file-{number:03d}.mp4', len(rows), encoder,
                {'preset': preset, 'crf': crf, 'g': str(KEYFRAME_EVERY)})
        pq.write_table(pa.table({
            'observation.state': [row.tolist() for row in rows],
            'timestamp': [index / IMAGE_HZ for index in range(len(rows))],
            'frame_index': list(range(len(rows))), 'episode_index': [number] * len(rows)}),
            out / f'file-{number:03d}.parquet')
        shutil.rmtree(images)


def _add_frames(bag: Path, images: Path) -> list[Any]:
    """Write every image as a PNG file; return the joints that were newest."""
    rows: list[Any] = []
    newest = None
    with AnyReader([bag]) as reader:
        wanted = [each for each in reader.connections if each.topic in (STATE_TOPIC, IMAGE_TOPIC)]
        for connection, _, data in reader.messages(wanted):
            message: Any = reader.deserialize(data, connection.msgtype)
            if connection.topic == STATE_TOPIC:
                newest = np.array(message.position)
            elif newest is not None:
                pixels = message.data.reshape(message.height, message.width, 3)
                Image.fromarray(pixels).save(
                    images / f'frame-{len(rows):06d}.png', compress_level=PNG_LEVEL)
                rows.append(newest)
    return rows


def _statistics(images: Path, count: int) -> None:
    """Read sampled images again and sum them up."""
    found = []
    for row in sampled_rows(count):
        pixels = np.asarray(Image.open(images / f'frame-{row:06d}.png'))
        step = max(1, pixels.shape[1] // 150)
        found.append(pixels[::step, ::step])
    stack = np.stack(found) / 255.0
    for summed in (np.min, np.max, np.mean, np.std):
        summed(stack, axis=(0, 1, 2))
    np.quantile(stack, (0.01, 0.10, 0.50, 0.90, 0.99), axis=(0, 1, 2))


def _encode(images: Path, video: Path, count: int, encoder: str,
            options: dict[str, str]) -> None:
    with av.open(str(video), 'w') as container:
        stream = container.add_stream(encoder, IMAGE_HZ, options=options)
        stream.pix_fmt = 'yuv420p'
        for row in range(count):
            with Image.open(images / f'frame-{row:06d}.png') as image:
                picture = image.convert('RGB')
            if row == 0:
                stream.width, stream.height = picture.size
                with kept_scheduling():    # as ours
                    stream.codec_context.open(strict=False)
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


if __name__ == '__main__':
    main()
