"""Two trajectories aligned in time: dynamic time warping within a band."""

from __future__ import annotations

import numpy as np


def aligned(cost: np.ndarray, band: int) -> np.ndarray:
    """The path (p, 2) of pairs of instants from both starts to both ends with the least sum of `cost` (n, m).

    No instant is paired with one further than `band` from its place on the straight line between the ends. Source:
    Sakoe and Chiba, "Dynamic programming algorithm optimization for spoken word recognition", 1978. A library for these
    lines would be one more to install.

    Raises:
        ValueError: an empty trajectory, or a negative band.
    """
    rows, columns = cost.shape
    if not (rows and columns) or band < 0:
        raise ValueError(f"cost is {cost.shape}, band {band}; expected two trajectories, and a band of 0 or more")
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    slope = (columns - 1) / max(rows - 1, 1)
    reach = band + max(1.0, slope, columns if rows == 1 else 0)
    for i in range(rows):
        middle = i * slope
        for j in range(max(0, int(np.ceil(middle - reach))), min(columns, int(middle + reach) + 1)):
            total[i + 1, j + 1] = cost[i, j] + min(total[i, j], total[i, j + 1], total[i + 1, j])
    path, i, j = [(rows - 1, columns - 1)], rows, columns
    while (i, j) != (1, 1):
        i, j = min(((i - 1, j - 1), (i - 1, j), (i, j - 1)), key=lambda at: total[at])
        path.append((i - 1, j - 1))
    return np.array(path[::-1])
