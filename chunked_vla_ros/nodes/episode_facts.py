"""
What an episode is a recording of: robot, task, policy, operator, software.

Gathers what parameters, goals and the graph say; decides which of them counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
import re
from typing import Any

from ament_index_python.packages import get_package_share_directory, PackageNotFoundError
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.serialization import deserialize_message
from std_msgs.msg import String

from chunked_vla_ros.core.recording import EpisodeFacts
from chunked_vla_ros.core.recording_control import EpisodeRequest
from chunked_vla_ros.data.robot_contract import contract_hash, load_robot

PACKAGE = 'chunked_vla_ros'


class EpisodeFactsSource:
    """
    Knows what stays the same from episode to episode.

    :ivar robot: Name of the robot, '' without a contract.
    """

    def __init__(self, robot: str, task: str, operator: str) -> None:
        """Read the contract ``robot``, if one is named."""
        self.robot = load_robot(robot).name if robot else ''
        self._contract_hash = contract_hash(robot) if robot else ''
        self._task, self._operator = task, operator
        self._version = _software_version()

    def facts(self, name: str, request: EpisodeRequest, start_ns: int,
              heard: Mapping[str, bytes]) -> EpisodeFacts:
        """
        Return the facts of an episode that begins now.

        :param heard: The last messages on ``instruction`` and ``policy_info``, b'' for none.
        """
        task = request.task or _instruction(heard['instruction']) or self._task
        return EpisodeFacts(
            episode_id=name, task=task, operator=request.operator or self._operator,
            robot=self.robot, contract_hash=self._contract_hash,
            policy_id=_policy_id(heard['policy_info']), software_version=self._version,
            start_ns=start_ns)


def _instruction(data: bytes) -> str:
    msg = _decoded(data, String)
    return str(msg.data) if msg is not None else ''


def _policy_id(data: bytes) -> str:
    msg = _decoded(data, DiagnosticStatus)
    entries = msg.values if msg is not None else ()
    return next((str(each.value) for each in entries if each.key == 'policy_id'), '')


def _decoded(data: bytes, message_type: type) -> Any:
    """Return the message, ``None`` where there is none: somebody's broken bytes stop nothing."""
    try:
        return deserialize_message(data, message_type) if data else None
    except Exception:  # noqa: BLE001 - rclpy raises what it likes for bytes that are no message
        return None


def _software_version() -> str:
    """Return the version in the installed package.xml, which is its one home."""
    try:
        text = Path(get_package_share_directory(PACKAGE), 'package.xml').read_text()
    except (PackageNotFoundError, OSError):
        return ''
    match = re.search(r'<version>([^<]+)</version>', text)
    return f'{PACKAGE} {match[1].strip()}' if match else ''
