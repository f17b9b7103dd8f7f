"""A Franka Research 3 with hand on 127.0.0.1: `franka-sim`, which enforces the robot's limits, without downloads.

Usage: python franka_server.py MODEL.xml [--object WIDTH] [--communication]

Prints `ready` when it serves, then answers `clock` on its standard input with its time [s]. `--object` lies between the
fingers [m]; `--communication` also enforces the network's limits. The model that franka-sim would download is made from
the URDF that it brings along, without meshes.

There is one clock, the robot's: each of its milliseconds ends when the client has answered, or has not for a while, and
moves the arm by a millisecond. So a machine that is busy with other things makes the robot slow, and nothing else.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PATIENCE = 0.5  # [s] for the answer to one state; libfranka gives the robot up after 1 s of silence
STRICT = 0.01  # [s] of it where the network's limits are enforced, which 20 lost answers in a row exceed


def write_model(path: Path) -> None:
    """Write a MuJoCo model of the arm that franka-sim brings along, without meshes."""
    import franka_sim
    import mujoco

    root = ElementTree.parse(Path(franka_sim.__file__).parent / "models" / "fr3.urdf").getroot()
    for link in root.iter("link"):
        for kind in ("visual", "collision"):
            for shape in link.findall(kind):
                link.remove(shape)
    extension = ElementTree.SubElement(root, "mujoco")
    ElementTree.SubElement(extension, "compiler", fusestatic="true", balanceinertia="true")
    model = mujoco.MjSpec.from_string(ElementTree.tostring(root, encoding="unicode"))
    for joint in model.joints:  # as in MuJoCo Menagerie's FR3
        joint.damping, joint.armature, joint.frictionloss = 0.21, 0.195, 1.137
    model.compile()
    path.write_text(model.to_xml())


def patient_server(**settings: object) -> object:
    """A server whose arm moves by its states alone, each of which waits for the answer to the one before."""
    import franka_sim
    from franka_sim.mujoco_franka_sim import MujocoFrankaSim

    class Arm(MujocoFrankaSim):
        def run_simulation(self) -> None:
            while self.running:
                time.sleep(0.05)

    class Server(franka_sim.FrankaSimServer):
        patience = STRICT if settings["enforce_comm_constraints"] else PATIENCE
        _DRAIN_GATE_TIMEOUT = patience

        def _drain_gate(self, answer_deadline: float = 0.0) -> float:
            return super()._drain_gate(answer_deadline + self.patience)

        def _account_for_communication_cycle(self) -> None:
            super()._account_for_communication_cycle()
            self.physics_sim.step()

    return Server(host="127.0.0.1", physics_sim=Arm(), enforce_motion_limits=True, **settings)


def main() -> None:
    """Serve until the process is ended."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--object", type=float, default=None)
    parser.add_argument("--communication", action="store_true")
    arguments = parser.parse_args()
    os.environ["FR3_MJCF"] = str(arguments.model)  # franka-sim reads it when it is imported
    write_model(arguments.model)
    from franka_sim.health_check import check_server

    server = patient_server(gripper_object_width=arguments.object, enforce_comm_constraints=arguments.communication)
    threading.Thread(target=server.start, daemon=True).start()
    check_server("127.0.0.1", 1337, timeout=60.0)
    print("ready", flush=True)
    for line in sys.stdin:
        clock = f"{server.robot_state.state['message_id'] / 1000.0:.3f}"
        print(clock if line.strip() == "clock" else "unknown", flush=True)
    server.stop()


if __name__ == "__main__":
    main()
