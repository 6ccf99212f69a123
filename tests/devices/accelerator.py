"""A GPU that is none: tensors that hold a processor's values, say that they lie on `cuda:0`, and are as strict.

`FakeTensorMode` finds mismatches of devices as well, but has no values, and a lesson needs values. Here every function
of torch runs on the processor, after the questions that a real device would ask: does a tensor of it meet one of the
processor (a number may), is there a float64 (which Apple's MPS lacks), is it read without `.cpu()`, or filled by a
generator of the processor?
"""

from __future__ import annotations

from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_flatten, tree_map

DEVICE = torch.device("cuda:0")

READ = {torch.Tensor.numpy, torch.Tensor.__array__}
MEET = {torch.Tensor.copy_, torch.Tensor.__setitem__, torch.Tensor.__getitem__}
"""What a device allows between its tensors and those of the processor: copying, and places to look up."""

NO_DOUBLES = "an accelerator was asked for float64, which MPS does not have"

HOUSEKEEPING = {torch._C._nn._parse_to, torch._has_compatible_shallow_copy_type}
"""What `Module.to` asks without computing anything."""


class OnDevice(torch.Tensor):
    """A tensor on the device. Only under an `Accelerator` does it behave as one."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @property
    def device(self) -> torch.device:
        return DEVICE if Accelerator.asked else torch.device("cpu")

    @property
    def is_cuda(self) -> bool:
        return Accelerator.asked

    def __deepcopy__(self, memo: dict) -> torch.Tensor:
        copied = self.detach().clone()
        return torch.nn.Parameter(copied, self.requires_grad) if isinstance(self, torch.nn.Parameter) else copied


class Accelerator(TorchFunctionMode):
    """A ``with`` block in which `DEVICE` exists."""

    asked = False
    """Whether a lesson is at work, and not torch itself inside of one of its functions."""

    def __enter__(self) -> Accelerator:
        # parameters on the device are other objects, and not other data of the same ones
        self._before = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        Accelerator.asked = True
        return super().__enter__()

    def __exit__(self, *exception: object) -> None:
        super().__exit__(*exception)
        Accelerator.asked = False
        torch.__future__.set_overwrite_module_params_on_conversion(self._before)

    def __torch_function__(self, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func in HOUSEKEEPING:
            return func(*args, **kwargs)
        given = tree_flatten((args, kwargs))[0]
        tensors = [one for one in given if isinstance(one, torch.Tensor)]
        ours = [one for one in tensors if isinstance(one, OnDevice)]
        if ours and func in READ:
            raise TypeError(f"can't convert {DEVICE} device type tensor to numpy. Use Tensor.cpu() first.")
        if ours and torch.float64 in [one for one in given if isinstance(one, torch.dtype)]:
            raise TypeError(NO_DOUBLES)
        here, kwargs = _place(func, args, kwargs, bool(ours))
        if func not in MEET and not _moves(func):
            _refuse_meeting(func, ours, tensors)
        _refuse_generator(kwargs, here)
        args = tree_map(lambda one: torch.device("cpu") if _is_device(one) else one, args)
        Accelerator.asked = False
        try:
            result = func(*args, **kwargs)
        finally:
            Accelerator.asked = True
        return tree_map(lambda one: _put(func, one, here) if isinstance(one, torch.Tensor) else one, result)


def _moves(func: Any) -> bool:
    return func in (torch.Tensor.to, torch.Tensor.cpu, torch.Tensor.cuda, torch.tensor, torch.as_tensor)


def _is_device(value: object) -> bool:
    return isinstance(value, torch.device | str) and str(value).split(":")[0] == DEVICE.type


def _place(func: Any, args: tuple, kwargs: dict, from_device: bool) -> tuple[bool, dict]:
    """Whether the result lies on the device; and the arguments by name, with the processor in its place."""
    if func is torch.Tensor.cpu:
        return False, kwargs
    asked = kwargs.get("device")
    if func is torch.Tensor.to:
        places = [one for one in (*args[1:], *kwargs.values()) if isinstance(one, torch.device | str | torch.Tensor)]
        asked = next(iter(places), None)
        if isinstance(asked, torch.Tensor):
            return isinstance(asked, OnDevice), kwargs
    if asked is None:
        return from_device, kwargs
    return _is_device(asked), kwargs | ({"device": torch.device("cpu")} if "device" in kwargs else {})


def _refuse_meeting(func: Any, ours: list, tensors: list) -> None:
    strangers = [one for one in tensors if not isinstance(one, OnDevice) and one.ndim and not one.is_meta]
    if ours and strangers:
        name = getattr(func, "__name__", func)
        raise RuntimeError(f"{name}: tensors on {DEVICE} and on cpu, of shape {tuple(strangers[0].shape)}, meet.")


def _refuse_generator(kwargs: dict, here: bool) -> None:
    if here and isinstance(kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"Expected a '{DEVICE.type}' device type for generator but found 'cpu'.")


def _put(func: Any, value: torch.Tensor, here: bool) -> torch.Tensor:
    """A result where it belongs, copied on its way there; on the device there is no float64."""
    if not here:
        return value.as_subclass(torch.Tensor).clone() if isinstance(value, OnDevice) else value
    if value.dtype == torch.float64:
        raise TypeError(NO_DOUBLES)
    if isinstance(value, OnDevice):
        return value
    return (value.clone() if _moves(func) else value).as_subclass(OnDevice)
