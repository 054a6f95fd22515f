"""
Install the package without ROS: ``pip install -e .`` for everything that needs no rclpy.

Name and version come from package.xml, dependencies from requirements/: each has one home. colcon
ignores this file, because package.xml names ament_cmake.
"""

from pathlib import Path
import re

from setuptools import find_packages, setup

ROOT = Path(__file__).resolve().parent
EXTRAS = ('cpu', 'gpu', 'data', 'sim', 'train', 'hf', 'ros', 'bench', 'dev')


def from_package_xml(tag: str) -> str:
    """Return the text of the first ``tag`` in package.xml."""
    match = re.search(rf'<{tag}[^>]*>([^<]+)</{tag}>', (ROOT / 'package.xml').read_text())
    if match is None:
        raise SystemExit(f'error: package.xml has no <{tag}>')
    return match[1].strip()


def requirements(name: str) -> list[str]:
    """Return the lines of requirements/NAME.txt that name a package."""
    lines = (ROOT / 'requirements' / f'{name}.txt').read_text().splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name=from_package_xml('name').replace('_', '-'),
    version=from_package_xml('version'),
    description=from_package_xml('description'),
    license=from_package_xml('license'),
    python_requires='>=3.10,<3.13',
    packages=find_packages(include=['chunked_vla_ros', 'chunked_vla_ros.*']),
    package_data={'chunked_vla_ros': ['py.typed']},
    install_requires=requirements('system') + requirements('core'),
    extras_require={name: requirements(name) for name in EXTRAS},
    entry_points={'console_scripts': ['chunked-vla = chunked_vla_ros.cli:main']},
)
