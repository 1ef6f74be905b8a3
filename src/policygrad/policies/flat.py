"""One flat float32 buffer under all parameters of a module, so that machine code and torch share memory."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policygrad._support.isolation import in_ordinary_torch


@in_ordinary_torch
def flat_parameters(module: nn.Module) -> Tensor:
    """The one buffer [P] whose consecutive views are the module's parameters, in `parameters()` order.

    Where they are not views of one buffer yet (a new module, a copy, one moved to another device), they are
    moved onto one: values, `requires_grad` and the Parameter objects themselves stay. Writing into the
    buffer writes the parameters.

    Raises:
        TypeError: the parameters are not all float32, or not all on one device.
    """
    parameters = list(module.parameters())
    if not parameters:
        return torch.zeros(0, dtype=torch.float32, device="cpu")
    kinds = {(p.dtype, p.device) for p in parameters}
    if len(kinds) > 1 or parameters[0].dtype != torch.float32:
        raise TypeError(f"expected parameters of float32 on one device; got {sorted(map(str, kinds))}")
    total = sum(p.numel() for p in parameters)
    first = parameters[0].data
    if _consecutive(parameters):
        return first.as_strided((total,), (1,), first.storage_offset())
    flat = torch.cat([p.data.reshape(-1) for p in parameters])
    offset = 0
    for p in parameters:
        p.data = flat[offset : offset + p.numel()].view(p.shape)
        offset += p.numel()
    return flat


@in_ordinary_torch
def leave_inference_mode(*modules: nn.Module | None) -> None:
    """Replace the parameters and buffers of modules that were made within `torch.inference_mode()` by copies.

    Parameters that torch makes there can never learn, and nothing outside can write to them. What modules share
    they share afterwards.
    """
    anew: dict[Tensor, Tensor] = {}
    for owner in (m for module in modules if module is not None for m in module.modules()):
        parameters = owner.named_parameters(recurse=False, remove_duplicate=False)
        buffers = owner.named_buffers(recurse=False, remove_duplicate=False)
        for name, tensor in [*parameters, *buffers]:
            if tensor.is_inference():
                if tensor not in anew:
                    copy = tensor.clone()
                    is_parameter = isinstance(tensor, nn.Parameter)
                    anew[tensor] = nn.Parameter(copy, tensor.requires_grad) if is_parameter else copy
                setattr(owner, name, anew[tensor])


def _consecutive(parameters: list[nn.Parameter]) -> bool:
    """Whether each parameter starts in memory where the one before ended, all in one storage."""
    storage = parameters[0].data.untyped_storage().data_ptr()
    offset = parameters[0].data.storage_offset()
    for p in parameters:
        data = p.data
        if data.untyped_storage().data_ptr() != storage or data.storage_offset() != offset:
            return False
        if not data.is_contiguous():
            return False
        offset += data.numel()
    return True
