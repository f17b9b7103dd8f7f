"""On-robot learning for manipulator arms.

The rooms below are described in docs/architecture.md. `extend_path` lets a source tree and the generated interfaces
(`physai_ros.msg`, `.srv`, `.action`), which CMake installs elsewhere, be one package.
"""

import pkgutil

__path__ = pkgutil.extend_path(__path__, __name__)
__version__ = "0.1.0"
