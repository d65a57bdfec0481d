"""A pretended GPU: tensors that hold values on the CPU and claim to be on `cuda:0`.

Operations that mix them with tensors of the CPU raise RuntimeError, as on a real GPU. So a test on a machine without a
GPU finds tensors that were left on the CPU. Values and gradients are those of the CPU. No gradient flows to the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")
_aten = torch.ops.aten
_INDEXING = {_aten.index.Tensor, _aten.index_put_.default, _aten.index_put.default, _aten._index_put_impl_.default}
"""These operations take indices on the CPU."""
_TO_PYTHON = (Tensor.tolist, Tensor.item, Tensor.__float__, Tensor.__int__, Tensor.__bool__, Tensor.__index__)


@contextmanager
def pretended_gpu(patch: pytest.MonkeyPatch) -> Iterator[torch.device]:
    """Yield the device of the pretended GPU; `patch` undoes the changes of torch after the test."""
    make = torch.tensor

    def tensor(data: Any, *, device: Any = None, **settings: Any) -> Tensor:
        made = make(data, **settings)
        return made if device is None else made.to(device)

    patch.setattr(torch, "tensor", tensor)
    patch.setattr(torch.cuda, "_lazy_init", lambda: None)
    swapped = torch.__future__.get_swap_module_params_on_conversion()
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        with _mode():
            yield GPU
    finally:
        torch.__future__.set_swap_module_params_on_conversion(swapped)


class _OnGpu(Tensor):
    """A tensor whose values lie on the CPU. For torch's own code its device is the CPU, for Python's it is the GPU."""

    contents: Tensor
    device: Any = property(lambda self: GPU)
    __torch_dispatch__: Any = classmethod(lambda cls, func, types, args=(), kwargs=None: _carry_out(func, args, kwargs))

    @staticmethod
    def __new__(cls, values: Tensor) -> _OnGpu:
        shape: dict[str, Any] = {"strides": values.stride(), "storage_offset": values.storage_offset()}
        own: _OnGpu = Tensor._make_wrapper_subclass(
            cls, values.size(), dtype=values.dtype, device=torch.device("cpu"), **shape
        )
        own.contents = values
        return own

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.cpu:
            return _to_cpu(args[0])
        if func in _TO_PYTHON:
            args = (_to_cpu(args[0].detach()),)
        if func is Tensor.numpy:
            raise TypeError("can't convert cuda:0 device type tensor to numpy")
        if func is Tensor.to:
            return _move(*args, **kwargs)
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **kwargs)


def _mode() -> Any:
    """Return a mode in which operations without a tensor of the GPU, such as `torch.zeros`, can make one."""

    def dispatch(mode: Any, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _carry_out(func, args, kwargs)

    return type("_Mode", (TorchDispatchMode,), {"__torch_dispatch__": dispatch})()


def _to_cpu(tensor: Any) -> Tensor:
    """Return the values, without a graph."""
    return Tensor.detach(tensor.contents).clone()


def _move(tensor: Tensor, *args: Any, **kwargs: Any) -> Any:
    """Return `tensor.to(...)`, if the tensor or the target is on the GPU."""
    given = [*args, *kwargs.values()]
    devices = [torch.device(value) for value in given if isinstance(value, str | torch.device)]
    like = [value for value in given if isinstance(value, Tensor)]
    dtypes = [value for value in given if isinstance(value, torch.dtype)] + [value.dtype for value in like]
    target = (devices + [value.device for value in like] + [tensor.device])[0]
    moved = tensor
    if isinstance(tensor, _OnGpu) and target.type == "cpu":
        moved = _to_cpu(tensor)
    with torch._C.DisableTorchFunctionSubclass():
        if not isinstance(tensor, _OnGpu) and target.type == "cuda":
            moved = tensor.to(GPU)
        return moved.to(dtypes[0]) if dtypes and dtypes[0] != moved.dtype else moved


def _carry_out(func: Any, args: Any, kwargs: dict[str, Any] | None) -> Any:
    kwargs = kwargs or {}
    leaves = [value for value in tree_leaves((args, kwargs)) if isinstance(value, Tensor)]
    on_gpu = [value for value in leaves if isinstance(value, _OnGpu)]
    device = kwargs.get("device")
    result_on_gpu = bool(on_gpu) or (device is not None and torch.device(device).type == "cuda")
    if device is not None:
        kwargs = {**kwargs, "device": torch.device("cpu")}
    if func is _aten.copy_.default:
        result_on_gpu = isinstance(args[0], _OnGpu)
    elif on_gpu and func is not _aten._to_copy.default:
        _check_devices(func, args, leaves)
    unwrapped = tree_map(lambda value: value.contents if isinstance(value, _OnGpu) else value, (args, kwargs))
    result = func(*unwrapped[0], **unwrapped[1])
    known = {id(value.contents): value for value in on_gpu}

    def wrap(value: Any) -> Any:
        if not isinstance(value, Tensor) or isinstance(value, _OnGpu):
            return value
        return known.get(id(value)) if id(value) in known else _OnGpu(value) if result_on_gpu else value

    return tree_map(wrap, result)


def _check_devices(func: Any, args: Any, leaves: list[Tensor]) -> None:
    on_cpu = [value for value in leaves if not isinstance(value, _OnGpu)]
    joins = func in (_aten.cat.default, _aten.stack.default)
    if func in _INDEXING:
        wrong = [] if isinstance(args[0], _OnGpu) else [args[0]]
    else:
        wrong = [value for value in on_cpu if value.dim() > 0 or joins]
    if wrong:
        shapes = [tuple(value.shape) for value in wrong]
        raise RuntimeError(f"Expected all tensors to be on the same device, but {func} found {shapes} on the CPU")
