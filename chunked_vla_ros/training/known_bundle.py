"""
Is the bundle that is there already the one that this training would write?

Asks its manifest where it comes from, and holds that against the checkpoint. Knows no network.
"""

from __future__ import annotations

from pathlib import Path

from chunked_vla_ros.core.bundle_manifest import BundleError
from chunked_vla_ros.data.bundle_json import LONGEST_TEXT
from chunked_vla_ros.data.policy_bundle import read_bundle
from chunked_vla_ros.training.checkpoint import read_origin
from chunked_vla_ros.training.export_manifest import config_sha256

LONGEST_SHOWN = 60


def check_is_of(bundle: Path, checkpoint: Path) -> None:
    """
    Do nothing if ``bundle`` was made of ``checkpoint``, or of one that was trained alike.

    :raises ValueError: one line: it is no bundle, or what differs.
    :raises CheckpointError: one line: the checkpoint cannot be used.
    """
    origin, said = read_origin(checkpoint)
    try:
        manifest = read_bundle(bundle).manifest
    except BundleError as error:
        raise ValueError(f'{bundle}: exists already and is no whole bundle ({error}): expected a '
                         'new folder for --bundle') from error
    expected = {**origin.provenance, 'step': str(said['step']),
                'config_sha256': config_sha256(origin.config)}
    differing = [f'{name} is {manifest.training.get(name, "not told")[:LONGEST_SHOWN]}, here '
                 f'{value[:LONGEST_SHOWN]}' for name, value in expected.items()
                 if manifest.training.get(name) != value[:LONGEST_TEXT]]
    # Other data of the same name and length have other means.
    means = origin.normalisation.action_raw_mean.tolist()
    if not differing and list(manifest.action_statistics.mean) != means:
        differing = ['the mean of its actions is another']
    if differing:
        raise ValueError(f'{bundle}: exists already and is of another training '
                         f'({", ".join(differing)}): expected a new folder for --bundle')
