"""The optimiser: orthogonal steps, AdamW for the rest."""

from __future__ import annotations

import pytest
import torch

from ser_edge.training.optim import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 72), (64, 64), (72, 8)])
def test_every_direction_gets_a_step_of_about_the_same_size(shape):
    torch.manual_seed(0)
    matrix = torch.randn(*shape) * torch.logspace(-3, 3, shape[1])
    found = orthogonal(matrix)
    values = torch.linalg.svdvals(found)
    weak = torch.linalg.svdvals(matrix)
    strong = values[weak > 0.01 * weak.max()]
    assert strong.min() > 0.6
    assert values.max() < 1.3
    assert torch.equal(orthogonal(matrix * 1e-3), found) or torch.allclose(
        orthogonal(matrix * 1e-3), found, atol=1e-4
    )


def test_nothing_to_learn_is_no_step():
    assert not orthogonal(torch.zeros(4, 9)).any()


def test_what_is_no_matrix_is_stepped_as_by_adamw():
    torch.manual_seed(0)
    ours = torch.nn.Parameter(torch.randn(5, 3))
    theirs = torch.nn.Parameter(ours.detach().clone())
    muon = Muon([{"params": [ours]}], 1e-2, weight_decay=0.1)
    adamw = torch.optim.AdamW([theirs], 1e-2, weight_decay=0.1)
    for _ in range(20):
        ours.grad = torch.randn(5, 3)
        theirs.grad = ours.grad.clone()
        muon.step()
        adamw.step()
    torch.testing.assert_close(ours, theirs)


def test_it_learns_a_convolution_and_goes_on_from_its_state():
    torch.manual_seed(0)
    target = torch.nn.Conv2d(3, 8, 3)
    pictures = torch.randn(16, 3, 8, 8)
    with torch.no_grad():
        wanted = target(pictures)

    def begin() -> tuple[torch.nn.Conv2d, Muon]:
        torch.manual_seed(1)
        net = torch.nn.Conv2d(3, 8, 3)
        groups = [{"params": [net.weight], "orthogonal": True}, {"params": [net.bias]}]
        return net, Muon(groups, 0.02)

    def steps(net: torch.nn.Conv2d, optimizer: Muon, count: int) -> float:
        for _ in range(count):
            optimizer.zero_grad()
            loss = (net(pictures) - wanted).square().mean()
            loss.backward()
            optimizer.step()
        return float(loss.detach())

    net, optimizer = begin()
    first = steps(net, optimizer, 1)
    assert steps(net, optimizer, 59) < 0.05 * first

    halted, before = begin()
    steps(halted, before, 30)
    other, after = begin()
    other.load_state_dict(halted.state_dict())
    after.load_state_dict(before.state_dict())
    steps(other, after, 30)
    torch.testing.assert_close(other.weight, net.weight)
