"""Both timed training steps do the same work."""

import numpy as np
import torch

import search_spaces
from benchmarks.common.step_timing import Engine, PlainLoop, TimedSetting, pairs

SPACE = search_spaces.load("nas-bench-macro", width=0.25, resolution=16, num_classes=10)


def test_both_steps_give_the_same_weights() -> None:
    torch.manual_seed(0)
    images = torch.randn(8, 3, 16, 16).to(memory_format=torch.channels_last)
    engine = Engine(SPACE, images, torch.randint(0, 10, (8,)))
    path = SPACE.sample(np.random.default_rng(1))
    alone = PlainLoop(engine, path)
    before = {name: tensor.clone() for name, tensor in engine.supernet.state_dict().items()}
    for _ in range(3):
        engine.step(1)
        alone.step()
    after = engine.supernet.state_dict()
    for name, tensor in SPACE.network_state(path, after).items():
        assert torch.equal(tensor, alone.network.state_dict()[name]), name
    modules = {id(module) for module in engine.supernet.path_modules(path)}
    on_path = tuple(f"{name}." for name, module in engine.supernet.named_modules() if id(module) in modules)
    changed = [name for name, tensor in after.items() if not torch.equal(tensor, before[name])]
    assert changed
    assert all(name.startswith(on_path) for name in changed)


def test_the_supernet_step_keeps_the_same_bytes_for_the_backward_pass() -> None:
    measured = list(pairs(TimedSetting("tiny", SPACE, batch_size=4, architectures=2)))
    for pair in measured:
        assert pair.saved_bytes[0] == pair.saved_bytes[1] > 0
        assert pair.peak_bytes[0] <= 1.01 * pair.peak_bytes[1]
