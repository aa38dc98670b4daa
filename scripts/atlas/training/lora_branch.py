"""The branch of LoRA on a CPU, computed and differentiated in as few passes as it takes.

PEFT writes ``result + B (A x) * scale`` as four operations, each of which is differentiated: four
passes over all that a layer gives, and three more on the way back.
"""

from typing import Any

import torch
from peft.tuners.lora.layer import Linear, LoraVariant


class _Branch(torch.autograd.Function):
    """The same sum, made in place in a result that nobody else holds."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, result: torch.Tensor, a: torch.Tensor, b: torch.Tensor,
        scale: float,
    ) -> torch.Tensor:  # fmt: skip
        flat = x.reshape(-1, x.shape[-1])
        low = flat @ a.t()
        result.view(-1, result.shape[-1]).addmm_(low, b.t(), alpha=scale)
        ctx.mark_dirty(result)
        ctx.save_for_backward(flat, low, a, b)
        ctx.scale, ctx.shape = scale, x.shape
        return result

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[Any, ...]:
        flat, low, a, b = ctx.saved_tensors
        outer = gradient.reshape(-1, gradient.shape[-1])
        inner = (outer @ b).mul_(ctx.scale)
        of_b = (outer.t() @ low).mul_(ctx.scale)
        # Nobody needs the gradient of what the first layer reads.
        of_x = (inner @ a).view(ctx.shape) if ctx.needs_input_grad[0] else None
        return of_x, gradient, inner.t() @ flat, of_b, None


class _InPlace(LoraVariant):
    """PEFT lets a variant compute the branch, and does all else itself."""

    @staticmethod
    def forward(
        module: Any, active_adapter: str, x: torch.Tensor, result: torch.Tensor, **_: Any
    ) -> torch.Tensor:
        a, b = (part[active_adapter].weight for part in (module.lora_A, module.lora_B))
        dropped = module.lora_dropout[active_adapter](x)
        scale = module.scaling[active_adapter]
        branched: torch.Tensor = _Branch.apply(dropped, result, a, b, scale)
        return branched


def compute_in_place(network: torch.nn.Module) -> None:
    """Let the plain LoRA modules of a network compute their branches so: in float32 on a CPU."""
    for module in network.modules():
        if type(module) is Linear:
            for name in module.lora_A.keys() - module.lora_variant.keys():
                weights = (module.base_layer, module.lora_A[name], module.lora_B[name])
                kinds = {(part.weight.dtype, part.weight.device.type) for part in weights}
                if kinds == {(torch.float32, "cpu")}:
                    module.lora_variant[name] = _InPlace()
