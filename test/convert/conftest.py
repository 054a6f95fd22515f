"""Three small recordings, a contract for them, and the dataset that an undisturbed run makes."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

pytest.importorskip('av', reason='PyAV is not installed (extra data)')
pytest.importorskip('pyarrow', reason='pyarrow is not installed (extra data)')
pytest.importorskip('rosbags', reason='rosbags is not installed')

from chunked_vla_ros.bench.convert_bags import contract, write_bag
from chunked_vla_ros.convert.bags import find_bags
from chunked_vla_ros.convert.conversion import convert
from chunked_vla_ros.convert.plan import Conversion
from chunked_vla_ros.convert.run import software_version
from chunked_vla_ros.core.conversion_rules import ConversionRules
from chunked_vla_ros.data.video_writer import VideoEncoding

SIZE = (64, 48)
FRAMES = (12, 9, 15)


@pytest.fixture(scope='session')
def bags(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder of three bags, ``robot.yaml`` beside it."""
    folder = tmp_path_factory.mktemp('recorded') / 'bags'
    folder.mkdir()
    (folder.parent / 'robot.yaml').write_text(contract(*SIZE))
    for number, frames in enumerate(FRAMES):
        write_bag(folder / f'bag_{number}', number, frames, *SIZE)
    return folder


@pytest.fixture
def conversion(bags: Path, tmp_path: Path) -> Callable[..., Conversion]:
    """Return what describes a conversion of the three bags, or of others, to ``out``."""
    def describe(*paths: Path, **options: object) -> Conversion:
        plain = Conversion(
            find_bags(paths or (bags,)), tmp_path / 'out', str(bags.parent / 'robot.yaml'),
            ConversionRules(), VideoEncoding(), workers=1,
            software=software_version())
        return replace(plain, **options)
    return describe


@pytest.fixture(scope='session')
def undisturbed(bags: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return the files that a conversion of the three bags makes when nothing happens."""
    out = tmp_path_factory.mktemp('undisturbed') / 'out'
    convert(Conversion(find_bags((bags,)), out, str(bags.parent / 'robot.yaml'),
                       ConversionRules(), VideoEncoding(), workers=1,
                       software=software_version()),
            lambda standing: None, lambda: False)
    return content_of(out)


def content_of(root: Path) -> dict[str, bytes]:
    """Return the bytes of every file."""
    return {str(path.relative_to(root)): path.read_bytes()
            for path in sorted(root.rglob('*')) if path.is_file()}


@pytest.fixture(scope='session')
def content() -> Iterator[Callable[[Path], dict[str, bytes]]]:
    """Return what returns the bytes of every file in a folder."""
    return content_of
