"""What may reach a motor: limits, arbitration, filter, verified stop, supervisor, the driver's guard."""
