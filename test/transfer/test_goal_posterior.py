"""What distances tell of a goal: the posterior is sampled, and right where slopes are not."""

import numpy as np

from physai_ros.transfer.goal_posterior import sampled


def test_of_a_normal_density_mean_and_covariance_come_back():
    mean, spread = np.array([0.4, 0.5, 0.55]), np.array([0.01, 0.02, 0.015])
    found, covariance = sampled(
        lambda point: -0.5 * float(np.sum(np.square((point - mean) / spread))),
        mean + 0.5 * spread,
        np.diag(np.square(1.5 * spread)),
    )
    np.testing.assert_allclose(found, mean, atol=0.005)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), spread, rtol=0.35)


def test_a_sphere_is_wider_than_its_curvature_at_one_point_says():
    centre, radius, unsure = np.array([0.5, 0.5, 0.5]), 0.05, 0.005

    def density(point: np.ndarray) -> float:
        return -0.5 * ((np.linalg.norm(point - centre) - radius) / unsure) ** 2

    start = centre + np.array([radius, 0.0, 0.0])
    _, covariance = sampled(density, start, np.diag([unsure**2, 0.02**2, 0.02**2]))
    assert np.sqrt(covariance[0, 0]) > 2.0 * unsure
    assert (np.linalg.eigvalsh(covariance) > 0.0).all()


def test_nothing_is_drawn_outside_the_range():
    mean, _ = sampled(lambda point: 0.0, np.array([0.02, 0.98]), np.eye(2) * 0.1)
    assert ((mean >= 0.0) & (mean <= 1.0)).all()
