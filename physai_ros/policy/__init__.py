"""From a robot state to an action: features, network, registry, runtime."""
