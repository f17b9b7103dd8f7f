"""The MuJoCo arm, its physics parameters, its camera."""
