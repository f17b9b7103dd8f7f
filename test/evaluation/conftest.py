"""A registry with two untrained policies of one task."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from physai_ros.policy.network import Architecture, RobotPolicyNetwork
from physai_ros.policy.observation import ObservationEncoder
from physai_ros.policy.registry import PolicyRegistry
from physai_ros.robot.kinematics import Kinematics
from physai_ros.robot.spec import RobotSpec
from physai_ros.tasks.catalog import load_task
