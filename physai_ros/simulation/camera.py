"""Pictures of the simulated scene, drawn without a screen."""

from __future__ import annotations

import mujoco
import numpy as np


class RenderingError(RuntimeError):
    """A picture cannot be drawn; the message says what to do."""


class Camera:
    """Draws pictures of one size; shadows and reflections are off, they cost most of the time on a CPU."""

    def __init__(self, model: mujoco.MjModel, height: int, width: int) -> None:
        self._model = model
        try:
            self._renderer = mujoco.Renderer(model, height, width, max_geom=200)
        except Exception as error:  # each back end raises its own kind
            raise RenderingError(
                f"cannot draw: {error}; install an OpenGL library (libegl1 or libosmesa6) and set MUJOCO_GL to egl or "
                "osmesa before start, or switch the cameras off"
            ) from error
        for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
            self._renderer.scene.flags[flag] = False
        self._renderer.scene.flags[mujoco.mjtRndFlag.mjRND_SKYBOX] = True

    def render(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """Picture (height, width, 3) uint8 RGB from a camera, by name."""
        self._look(data, camera)
        return self._renderer.render()

    def depth(self, data: mujoco.MjData, camera: str) -> np.ndarray:
        """Distances (height, width) float32 [m] along the axis of a camera, by name."""
        self._renderer.enable_depth_rendering()
        try:
            self._look(data, camera)
            return self._renderer.render()
        finally:
            self._renderer.disable_depth_rendering()

    def _look(self, data: mujoco.MjData, camera: str) -> None:
        known = [self._model.camera(i).name for i in range(self._model.ncam)]
        if camera not in known:
            raise RenderingError(f"there is no camera '{camera}'; known are: {', '.join(known)}")
        self._renderer.update_scene(data, camera)

    def close(self) -> None:
        """Release the OpenGL context."""
        self._renderer.close()
