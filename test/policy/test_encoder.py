"""The encoder: any modality may be missing, a batch of one is a batch, and statistics travel with the weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.policy.encoder import MODALITIES, EncoderShape, MultiModalInputs, MultiModalRobotEncoder

SHAPE = EncoderShape(proprioception=11, tactile=5, task=7, image=(24, 24, 3), features=16)


def inputs(count: int, seed: int = 0) -> MultiModalInputs:
    generator = torch.Generator().manual_seed(seed)
    vectors = {name: torch.randn(count, getattr(SHAPE, name), generator=generator) for name in MODALITIES[:3]}
    vision = torch.randint(0, 256, (count, *SHAPE.image), generator=generator, dtype=torch.uint8)
    return MultiModalInputs(**vectors, vision=vision)


@settings(max_examples=20, deadline=None)
@given(there=st.sets(st.sampled_from(MODALITIES), min_size=1), count=st.integers(1, 5))
def test_an_absent_modality_is_one_that_is_nowhere_known(there, count):
    encoder = MultiModalRobotEncoder(SHAPE).eval()
    whole = inputs(count)
    absent = whole._replace(**{name: None for name in MODALITIES if name not in there})
    masked = whole._replace(known={n: torch.zeros(count) for n in MODALITIES if n not in there})
    features = encoder(absent)
    assert features.shape == (count, 16)
    torch.testing.assert_close(features, encoder(masked))


def test_a_silent_sensor_does_not_spoil_the_others():
    encoder = MultiModalRobotEncoder(SHAPE).eval()
    whole = inputs(3)
    broken = whole.tactile.clone()
    broken[1] = torch.nan
    features, before = encoder(whole._replace(tactile=broken)), encoder(whole)
    assert torch.isfinite(features).all()
    torch.testing.assert_close(features[[0, 2]], before[[0, 2]])
    masked = whole._replace(known={"tactile": torch.tensor([True, False, True])})
    torch.testing.assert_close(features, encoder(masked))
    broken.requires_grad_(True)
    encoder(whole._replace(tactile=broken)).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in encoder.parameters() if p.grad is not None)


def test_a_batch_of_one_is_a_row_of_a_larger_batch():
    encoder = MultiModalRobotEncoder(SHAPE).eval()
    whole = inputs(6)
    alone = torch.cat([encoder(MultiModalInputs(*(column[i : i + 1] for column in whole[:4]))) for i in range(6)])
    torch.testing.assert_close(encoder(whole), alone, atol=1e-5, rtol=1e-5)


def test_bytes_and_numbers_up_to_one_are_the_same_picture():
    encoder = MultiModalRobotEncoder(SHAPE).eval()
    whole = inputs(4)
    torch.testing.assert_close(encoder(whole), encoder(whole._replace(vision=whole.vision.float() / 255.0)))


def test_statistics_are_part_of_the_weights():
    encoder = MultiModalRobotEncoder(SHAPE)
    whole = inputs(50)
    for name in MODALITIES:
        encoder.set_normalization(name, getattr(whole, name).numpy())
    expected = whole.vision.numpy().reshape(-1, 3).mean(axis=0) / 255.0
    np.testing.assert_allclose(encoder.vision_mean.numpy(), expected, rtol=1e-5)
    other = MultiModalRobotEncoder(SHAPE, seed=9)
    other.load_state_dict(encoder.state_dict())
    torch.testing.assert_close(other.eval()(whole), encoder.eval()(whole))


def test_a_seed_decides_and_hiding_is_for_training_alone():
    first, second = MultiModalRobotEncoder(SHAPE, seed=3), MultiModalRobotEncoder(SHAPE, seed=3)
    whole = inputs(64)
    assert torch.equal(first(whole), second(whole))
    assert not torch.equal(first(whole), first(whole))  # other modalities are hidden each time
    assert torch.equal(first.eval()(whole), first(whole))


def test_what_is_absent_is_learned():
    """The task says left or right; where it is missing, the best guess is the mean, and hiding teaches it."""
    shape = EncoderShape(proprioception=2, task=1, features=16, dropout=0.3)
    encoder, head = MultiModalRobotEncoder(shape), torch.nn.Linear(16, 1)
    torch.nn.init.zeros_(head.bias)
    optimizer = torch.optim.Adam([*encoder.parameters(), *head.parameters()], lr=1e-2)
    generator = torch.Generator().manual_seed(0)
    for _ in range(300):
        task = torch.randint(0, 4, (128, 1), generator=generator).clamp(max=1).float()
        loss = (head(encoder(MultiModalInputs(torch.zeros(128, 2), task=task))) - task).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    encoder.eval()
    with torch.inference_mode():
        assert float(head(encoder(MultiModalInputs(torch.zeros(1, 2))))) == pytest.approx(0.75, abs=0.12)
        assert float(head(encoder(MultiModalInputs(torch.zeros(1, 2), task=torch.zeros(1, 1))))) < 0.25


@pytest.mark.parametrize(
    ("given_inputs", "reason"),
    [
        (MultiModalInputs(), "no modality is there"),
        (MultiModalInputs(proprioception=torch.zeros(2, 3)), r"expected \(n, 11\)"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(given_inputs, reason):
    with pytest.raises(ValueError, match=reason):
        MultiModalRobotEncoder(SHAPE)(given_inputs)
