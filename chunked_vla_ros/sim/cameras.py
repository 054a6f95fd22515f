"""
Pictures of the simulated scene, rendered off screen by EGL.

A rig has its own copy of model and state and is told where everything is, so it may live in a
thread beside the physics. It must be used and closed in the thread that made it: an OpenGL
context belongs to one thread. Knows nothing about ROS or physics.
"""

from __future__ import annotations

from collections.abc import Sequence
import copy
import math
from typing import Any

import mujoco
import numpy as np

from chunked_vla_ros.core.robot_spec import CameraSpec
from chunked_vla_ros.core.types import FloatArray, ImageArray

MAX_GEOMS = 1000


class CameraError(ValueError):
    """The rig cannot render; the message is one line with the remedy."""


class CameraRig:
    """
    The cameras that a robot contract names, looking at one scene.

    :raises CameraError: no such camera in the model, or no EGL.
    """

    def __init__(self, model: mujoco.MjModel, cameras: Sequence[CameraSpec]) -> None:
        self._model = copy.copy(model)
        self._data = mujoco.MjData(self._model)
        self._views = {camera.name: self._view(camera) for camera in cameras}
        offscreen = self._model.vis.global_
        offscreen.offwidth = max(camera.width for camera in cameras)
        offscreen.offheight = max(camera.height for camera in cameras)
        self._gl = _gl_context(offscreen.offwidth, offscreen.offheight)
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_100)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN, self._context)
        self._scene = mujoco.MjvScene(self._model, MAX_GEOMS)
        self._options = mujoco.MjvOption()
        self._options.sitegroup[:] = 0      # sites are marks for the program

    def _view(self, camera: CameraSpec) -> tuple[mujoco.MjvCamera, mujoco.MjrRect]:
        known = [self._model.camera(index).name for index in range(self._model.ncam)]
        if camera.name not in known:
            raise CameraError(f'camera {camera.name} is not in the simulator, it has {known}')
        view = mujoco.MjvCamera()
        view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        view.fixedcamid = self._model.camera(camera.name).id
        return view, mujoco.MjrRect(0, 0, camera.width, camera.height)

    def render(self, configuration: FloatArray) -> dict[str, ImageArray]:
        """Return (height, width, 3) RGB per camera, for the model's generalised positions."""
        self._data.qpos[:] = configuration
        mujoco.mj_kinematics(self._model, self._data)
        mujoco.mj_camlight(self._model, self._data)
        return {name: self._render(view, area) for name, (view, area) in self._views.items()}

    def _render(self, view: mujoco.MjvCamera, area: mujoco.MjrRect) -> ImageArray:
        mujoco.mjv_updateScene(
            self._model, self._data, self._options, None, view, mujoco.mjtCatBit.mjCAT_ALL,
            self._scene)
        mujoco.mjr_render(area, self._scene, self._context)
        pixels = np.empty((area.height, area.width, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, area, self._context)
        return np.ascontiguousarray(pixels[::-1])       # OpenGL counts rows from below

    def focal_px(self, name: str) -> float:
        """Return the focal length of a camera in pixels, the same in both directions."""
        view, area = self._views[name]
        half_angle = math.radians(float(self._model.cam_fovy[view.fixedcamid])) / 2
        return float(area.height / 2 / math.tan(half_angle))

    def close(self) -> None:
        """Give the graphics context back."""
        self._context.free()
        self._gl.free()


def _gl_context(width: int, height: int) -> Any:
    try:
        # Imported late: the import itself looks for the graphics library.
        from mujoco.egl import GLContext
        context = GLContext(width, height)
        context.make_current()
    except (AttributeError, ImportError, OSError, RuntimeError) as error:
        raise CameraError(
            'cameras need EGL, which did not start '
            f'({" ".join(str(error).split())}): apt install libegl1 libgl1-mesa-dri') from error
    return context
