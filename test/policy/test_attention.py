"""Attention to what was before: nothing unknown is looked at, and few of the old steps where it is sparse."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from physai_ros.policy.attention import HistoryAttention


def attention(*, sparse: bool, window: int = 17) -> HistoryAttention:
    torch.manual_seed(0)
    layer = HistoryAttention(8, window, sparse=sparse, local=3, top=2)
    torch.nn.init.normal_(layer.value.weight)
    return layer


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 4), unknown=st.integers(0, 16), sparse=st.booleans())
def test_what_is_not_known_does_not_matter(count, unknown, sparse):
    layer, present, past = attention(sparse=sparse), torch.randn(count, 8), torch.randn(count, 16, 8)
    known = torch.arange(16).expand(count, -1) >= unknown
    other = torch.where(known[:, :, None], past, 100.0 * torch.randn_like(past))
    torch.testing.assert_close(layer(present, past, known), layer(present, other, known))


def test_without_a_past_the_present_stays_as_it_is():
    layer, present = attention(sparse=True), torch.randn(2, 8)
    found = layer(present, torch.randn(2, 16, 8), torch.zeros(2, 16, dtype=torch.bool))
    torch.testing.assert_close(found, present)
    found.sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in layer.parameters() if p.grad is not None)


def test_a_new_network_has_no_memory_yet():
    layer, present = HistoryAttention(8, 17, sparse=False), torch.randn(2, 8)
    torch.testing.assert_close(layer(present, torch.randn(2, 16, 8), torch.ones(2, 16, dtype=torch.bool)), present)


@pytest.mark.parametrize(("sparse", "heeded"), [(False, 16), (True, 3 + 2)])
def test_sparse_attention_looks_at_the_newest_and_a_few_of_the_older(sparse, heeded):
    layer, present = attention(sparse=sparse), torch.randn(1, 8)
    past = torch.randn(1, 16, 8, requires_grad=True)
    layer(present, past, torch.ones(1, 16, dtype=torch.bool)).sum().backward()
    looked_at = (past.grad[0].abs().sum(dim=1) > 0).nonzero().flatten().tolist()
    assert len(looked_at) == heeded
    assert {13, 14, 15} <= set(looked_at)
