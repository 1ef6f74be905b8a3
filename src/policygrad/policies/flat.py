"""Storage of all parameters of a module in one flat float32 buffer, which compiled code and torch share."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from policygrad._support.isolation import in_ordinary_torch


@in_ordinary_torch
def flat_parameters(module: nn.Module) -> Tensor:
    """Return the buffer [P] whose consecutive views are the module's parameters, in `parameters()` order.

    If the parameters are not views of one buffer yet (in a new module, a copy, or a module moved to another device),
    they are moved into one; their values, their `requires_grad` and the Parameter objects themselves stay the same.
    Writing to the buffer changes the parameters.

    Raises:
        TypeError: the parameters are not all float32, or not all on one device.
    """
    parameters = list(module.parameters())
    if not parameters:
        return torch.zeros(0, dtype=torch.float32, device="cpu")
    kinds = {(p.dtype, p.device) for p in parameters}
    if len(kinds) > 1 or parameters[0].dtype != torch.float32:
        raise TypeError(f"expected float32 parameters on one device; got {sorted(map(str, kinds))}")
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
    """Replace parameters and buffers that were created within `torch.inference_mode()` by ordinary copies.

    Parameters that are created there can never be trained, and they cannot be written to outside of that mode. Tensors
    that modules share remain shared.
    """
    copies: dict[Tensor, Tensor] = {}
    for owner in (m for module in modules if module is not None for m in module.modules()):
        parameters = owner.named_parameters(recurse=False, remove_duplicate=False)
        buffers = owner.named_buffers(recurse=False, remove_duplicate=False)
        for name, tensor in [*parameters, *buffers]:
            if tensor.is_inference():
                if tensor not in copies:
                    copy = tensor.clone()
                    is_parameter = isinstance(tensor, nn.Parameter)
                    copies[tensor] = nn.Parameter(copy, tensor.requires_grad) if is_parameter else copy
                setattr(owner, name, copies[tensor])


def _consecutive(parameters: list[nn.Parameter]) -> bool:
    """Return True if all parameters are in one storage and each starts where the previous one ends."""
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
