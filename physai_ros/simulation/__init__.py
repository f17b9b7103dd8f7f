"""The MuJoCo arm, its physics parameters, its camera."""

import ctypes
import os

if "MUJOCO_GL" not in os.environ:
    # MuJoCo picks its OpenGL back end when it is imported; EGL needs no screen.
    try:
        ctypes.CDLL("libEGL.so.1")
    except OSError:
        pass
    else:
        os.environ["MUJOCO_GL"] = "egl"
