"""
Read and write policy bundles: a directory with ``manifest.json``, ``policy.onnx`` and a tokenizer.

Every file is read once into memory and the bytes that were hashed are the bytes that are used, so
nothing can be exchanged in between. Knows nothing about ONNX and robots.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
import hashlib
import os
from pathlib import Path
import re
import shutil
import stat
import tempfile

from chunked_vla_ros.core.bundle_manifest import (
    BundleError,
    BundleFile,
    BundleManifest,
    MODEL_FILE,
)
from chunked_vla_ros.data.bundle_json import (
    LARGEST_FILE,
    LARGEST_MANIFEST,
    MANIFEST_FILE,
    parse_manifest,
    SEAL_FILE,
    write_manifest,
)

HASH_DIGITS = 12
# What a person may lay beside the files of the manifest; nothing reads it.
READING_MATTER = re.compile(r'(README|LICENSE|NOTICE)(\.(md|txt|rst))?')


@dataclass(frozen=True)
class Bundle:
    """
    A bundle whose files are what its manifest says.

    :ivar manifest_sha256: 64 hex digits; as the manifest holds the hash of every other file, they
        stand for the whole bundle.
    :ivar model: The bytes of ``policy.onnx``.
    :ivar tokenizer: The bytes of the tokenizer's file, if there is one.
    """

    directory: Path
    manifest: BundleManifest
    manifest_sha256: str
    model: bytes
    tokenizer: bytes | None

    @property
    def policy_id(self) -> str:
        """Return the name and the beginning of the hash that stands for the whole bundle."""
        return f'{self.manifest.name}@{self.manifest_sha256[:HASH_DIGITS]}'


def read_bundle(path: str | Path) -> Bundle:
    """
    Return the bundle in the directory ``path`` after comparing every file with the manifest.

    :raises BundleError: one line that names the file, what is wrong and the remedy.
    """
    directory = Path(path)
    try:
        handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    except (OSError, ValueError) as error:
        raise BundleError(
            f'{directory}: no bundle ({_reason(error)}), expected a directory with '
            f'{MANIFEST_FILE} and {MODEL_FILE}') from error
    try:
        data = _read(handle, directory, MANIFEST_FILE, LARGEST_MANIFEST)
        manifest = parse_manifest(data, str(directory / MANIFEST_FILE))
        _check_seal(handle, directory, data)
        _refuse_strangers(handle, directory, manifest)
        kept = {file.name: _verified(handle, directory, file) for file in manifest.files}
    finally:
        os.close(handle)
    tokenizer = manifest.tokenizer
    return Bundle(directory, manifest, hashlib.sha256(data).hexdigest(), kept[MODEL_FILE],
                  kept[tokenizer.file] if tokenizer else None)


def write_bundle(path: str | Path, manifest: BundleManifest, files: Mapping[str, bytes]) -> Bundle:
    """
    Write a bundle to the new directory ``path``, whole or not at all, and read it back.

    :param manifest: Its ``files`` are replaced by the hashes of ``files``.
    :param files: Contents by plain name, `MODEL_FILE` among them.
    :raises BundleError: if ``path`` is taken, or the bundle would be refused when it is read.
    """
    target = Path(path)
    if target.exists() or target.is_symlink():
        raise BundleError(f'{target}: exists already, expected a new directory')
    complete = replace(manifest, files=tuple(
        BundleFile(name, hashlib.sha256(content).hexdigest(), len(content))
        for name, content in files.items()))
    head = write_manifest(complete)
    contents = {MANIFEST_FILE: head, SEAL_FILE: _seal(head), **files}
    scratch = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = Path(tempfile.mkdtemp(prefix=f'.{target.name}.', dir=target.parent))
        # mkdtemp's 0700 would keep the bundle from the user that runs the robot.
        scratch.chmod(0o755)
        for name, content in contents.items():
            _write(scratch / name, content)
        bundle = read_bundle(scratch)
        scratch.rename(target)
    except OSError as error:
        raise BundleError(f'{target}: cannot be written ({_reason(error)})') from error
    finally:
        if scratch is not None:
            shutil.rmtree(scratch, ignore_errors=True)
    return replace(bundle, directory=target)


def _write(path: Path, content: bytes) -> None:
    with path.open('xb') as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _seal(manifest: bytes) -> bytes:
    return f'{hashlib.sha256(manifest).hexdigest()}  {MANIFEST_FILE}\n'.encode()


def _check_seal(handle: int, directory: Path, manifest: bytes) -> None:
    """Refuse a damaged manifest: a flipped bit of a number in it would still be a number."""
    if _read(handle, directory, SEAL_FILE, LARGEST_MANIFEST) != _seal(manifest):
        raise BundleError(
            f'{directory / MANIFEST_FILE}: differs from its SHA-256 in {SEAL_FILE}; copy the '
            f'bundle again, or after an edit run: sha256sum {MANIFEST_FILE} > {SEAL_FILE}')


def _refuse_strangers(handle: int, directory: Path, manifest: BundleManifest) -> None:
    named = {MANIFEST_FILE, SEAL_FILE, *(file.name for file in manifest.files)}
    for name in sorted(os.listdir(handle)):
        if name not in named and not READING_MATTER.fullmatch(name):
            raise BundleError(
                f'{directory / name}: not named in {MANIFEST_FILE}; remove it or export again')


def _verified(handle: int, directory: Path, file: BundleFile) -> bytes:
    data = _read(handle, directory, file.name, LARGEST_FILE)
    remedy = 'copy or export the bundle again'
    if len(data) != file.size:
        raise BundleError(f'{directory / file.name}: {len(data)} bytes, expected {file.size} by '
                          f'{MANIFEST_FILE}; {remedy}')
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise BundleError(f'{directory / file.name}: differs from its SHA-256 in '
                          f'{MANIFEST_FILE}; {remedy}')
    return data


def _read(handle: int, directory: Path, name: str, largest: int) -> bytes:
    """Return the bytes of a regular file that lies in the directory itself."""
    try:
        # Non-blocking: a pipe of that name would hold the node up for ever.
        descriptor = os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
    except OSError as error:
        linked = ' (a link: put the file itself there)' if Path(directory, name).is_symlink() \
            else ''
        raise BundleError(
            f'{directory / name}: cannot be read ({_reason(error)}){linked}') from error
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise BundleError(f'{directory / name}: no regular file')
        if found.st_size > largest:
            raise BundleError(
                f'{directory / name}: {found.st_size} bytes, expected at most {largest}')
        with os.fdopen(descriptor, 'rb', closefd=False) as file:
            # No more than was there when its size was asked: a file may grow meanwhile.
            return file.read(found.st_size)
    except OSError as error:
        raise BundleError(f'{directory / name}: cannot be read ({_reason(error)})') from error
    finally:
        os.close(descriptor)


def _reason(error: Exception) -> str:
    return ' '.join((getattr(error, 'strerror', None) or str(error)).split())
