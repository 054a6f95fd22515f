"""
Choose the DDS transport of a graph: Fast DDS with a shared-memory segment that holds images.

By default a 640x480 image does not fit the segment and most are lost. A profile that the user has
set stays in force; another middleware is left alone.
"""

from __future__ import annotations

from collections.abc import Mapping
import os

from chunked_vla_ros.graph.installation import shared_file

PROFILE = 'config/fastdds_shm.xml'
# Jazzy's Fast DDS 2.14 reads this one; FASTDDS_DEFAULT_PROFILES_FILE is silently ignored (tried).
PROFILE_VARIABLE = 'FASTRTPS_DEFAULT_PROFILES_FILE'
FAST_DDS = ('', 'rmw_fastrtps_cpp', 'rmw_fastrtps_dynamic_cpp')


def transport_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables to add to ``environment`` (default: this process's)."""
    environment = os.environ if environment is None else environment
    if environment.get('RMW_IMPLEMENTATION', '') not in FAST_DDS:
        return {}
    profile = shared_file(PROFILE)
    if environment.get(PROFILE_VARIABLE) or profile is None:
        return {}
    return {PROFILE_VARIABLE: str(profile)}
