"""
Find the Python class of a message type by its name, for subscriptions to whatever there is.

`rosidl_runtime_py` does this where ROS 2 is installed; the wheels lack it. Knows nothing about
topics.
"""

from __future__ import annotations

from contextlib import suppress
from functools import lru_cache
import importlib
import re

from rclpy.type_support import check_for_type_support

TYPE_NAME = re.compile(r'([A-Za-z][A-Za-z0-9_]*)/(msg|action)/([A-Za-z][A-Za-z0-9_]*)')
FEEDBACK = '_FeedbackMessage'
# One of each package whose topics a robot and its policy have.
USUAL = (
    'sensor_msgs/msg/JointState', 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CompressedImage',
    'std_msgs/msg/String', 'std_msgs/msg/Float64MultiArray', 'trajectory_msgs/msg/JointTrajectory',
    'visualization_msgs/msg/MarkerArray', 'chunked_vla_ros/msg/ActionChunk',
    'chunked_vla_ros/msg/ExecutorState')


class TypeNotHereError(LookupError):
    """A type's package is not installed; the message is one line with the remedy."""


@lru_cache(maxsize=256)
def message_class(type_name: str) -> type:
    """
    Return the class of ``type_name``, such as 'sensor_msgs/msg/Image'.

    :raises TypeNotHereError: naming the type and the package to source.
    """
    match = TYPE_NAME.fullmatch(type_name)
    if match is None:
        raise TypeNotHereError(f'{type_name!r} is no type of messages')
    package, kind, name = match.groups()
    try:
        module = importlib.import_module(f'{package}.{kind}')
        # An action's feedback is a topic too; its type is found through the action.
        found = getattr(module, name.removesuffix(FEEDBACK))
        if kind == 'action':
            found = found.Impl.FeedbackMessage
        assert isinstance(found, type)
    except (ImportError, AttributeError):
        raise TypeNotHereError(
            f'type {type_name} is not installed here: build and source {package}') from None
    return found


def load_usual_types() -> None:
    """Load what takes a tenth of a second, before a topic appears that must not wait for it."""
    for name in USUAL:
        with suppress(TypeNotHereError):
            check_for_type_support(message_class(name))
