"""MuJoCo picks its OpenGL back end when it is imported: this room picks one that needs no screen, so it comes first."""

import physai_ros.simulation  # noqa: F401
