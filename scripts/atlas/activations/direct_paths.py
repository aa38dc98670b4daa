"""How the linear modules of a base reach its last hidden state at the last token, found by gradients.

A *writer* is a linear module whose output is added to the residual stream (of attention, of an MLP);
a *reader* is one whose output becomes the input of a writer (values; gate and up). The direct path of a
change goes through no other linear module: later layers read the base's own stream. It is the direct
effect of causal mediation (J. Vig et al., arXiv 2004.12265), linear in the change, with what a network
does beside its matrices frozen at the base: the pattern of attention (N. Elhage et al., 2021, A
Mathematical Framework for Transformer Circuits), the centre and scale of norms, and the slope of
activation functions.

All of it is read off gradients of one forward pass in which no gradient passes through a matrix, so it
needs no names of modules, and fused matrices (queries, keys and values; gate and up) are as good as
others.
"""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from atlas.networks.architectures import text_path

Tensor = torch.Tensor
SAME = 0.02  # of what should be equal, as a share: bfloat16 has a precision of .004


class UnknownPathError(Exception):
    """Why the direct paths of a base are not known, as the rest of a sentence."""


@dataclass(frozen=True)
class Reader:
    """A linear module that reaches a writer: element ``columns[e]`` of the writer's input moves by
    ``slopes[p, e]`` times the move of element ``rows[e]`` of this module's output.

    :param inputs: what it reads at each probe, (n_probes, groups, in) float32: of an MLP the last token,
        of attention, for each head, the mean of the tokens by its pattern.
    :param rows, columns, groups: (edges,) int64. :param slopes: (n_probes, edges) float32.
    """

    inputs: Tensor
    rows: Tensor
    columns: Tensor
    groups: Tensor
    slopes: Tensor
    transposed: bool


@dataclass(frozen=True)
class Writer:
    """A linear module that writes into the residual stream: the last hidden state moves at probe p by
    ``shares[p] * scale`` times the move of its output.

    :param inputs: what it reads at the last token of each probe, (n_probes, in) float32.
    :param scale: (d,) float32. :param shares: (n_probes,) float32.
    :param transposed: whether its weight is stored as (in, out).
    """

    inputs: Tensor
    scale: Tensor
    shares: Tensor
    transposed: bool
    readers: dict[str, Reader] = field(default_factory=dict)


@dataclass
class _Pass:
    """One forward pass: last hidden state (n, d), and of each linear module what it read and a zero that
    was added to its output, (n, tokens, …) each.
    """

    last: Tensor
    ends: Tensor
    read: dict[str, Tensor]
    zeros: dict[str, Tensor]

    def at_end(self, values: Tensor) -> Tensor:
        """Values at the last token of each probe; some networks flatten probes and tokens."""
        values = by_probe(values, len(self.ends))
        return values[torch.arange(len(self.ends), device=values.device), self.ends]

    def of_output(self, weights: Tensor) -> dict[str, Tensor]:
        """Gradients of the weighted last hidden state with respect to the outputs of modules."""
        return self._gradients((self.last * weights).sum(), self.zeros)

    def of_input(self, writer: str, weights: Tensor, names: Iterable[str]) -> dict[str, Tensor]:
        """Gradients of the weighted input (in,) of a module at the last token, as float32."""
        read = self.read[writer]
        if not read.requires_grad:
            return {}
        total = (self.at_end(read) * weights.to(read)).sum()
        return self._gradients(total, {name: self.zeros[name] for name in names})

    def _gradients(self, total: Tensor, zeros: dict[str, Tensor]) -> dict[str, Tensor]:
        found = torch.autograd.grad(
            total, list(zeros.values()), retain_graph=True, allow_unused=True
        )
        pairs = zip(zeros, found, strict=True)
        return {name: value.float() for name, value in pairs if value is not None and value.any()}


def by_probe(values: Tensor, count: int) -> Tensor:
    """Values (count, tokens, width), however a network shapes them."""
    return values.reshape(count, -1, values.shape[-1])


def direct_paths(
    network: Any, batches: Sequence[tuple[list[int], Tensor, Tensor]]
) -> dict[str, Writer]:
    """The writers of a base, by their names in the network, with their readers.

    :param batches: places of probes, their tokens (n, longest), and the place of the last token of each.
    :raises UnknownPathError: where the network is built in a way that has no such paths.
    """
    heads = getattr(network.config.get_text_config(), "num_attention_heads", 0)
    _, tokens, ends = batches[0]
    with _tapped(network) as run:
        alone = run(tokens[:1, :1], torch.zeros_like(ends[:1]))
        found = [_of_batch(run(tokens, ends), alone, heads) for _, tokens, ends in batches]
    order = torch.tensor([i for places, _, _ in batches for i in places]).argsort()
    return _joined(found, order, network)


@contextlib.contextmanager
def _tapped(network: Any) -> Iterator[Any]:
    """Within this context, what runs the text model of a network on tokens as a :class:`_Pass`."""
    body = network.get_submodule(text_path(network))
    read: dict[str, Tensor] = {}
    zeros: dict[str, Tensor] = {}
    with contextlib.ExitStack() as stack, torch.enable_grad():
        for name, module in network.named_modules():
            if isinstance(module, torch.nn.Linear) or _is_transposed(module):
                hooks = _linear_hooks(name, read, zeros)
            elif type(module).__name__.endswith("Norm"):
                hooks = (None, _frozen)
            elif any(p.dim() > 1 for p in module.parameters(recurse=False)):
                hooks = (_cut, None)  # experts and their routers
            else:
                continue
            before, after = hooks
            if before:
                handle = module.register_forward_pre_hook(before, with_kwargs=True)
                stack.callback(handle.remove)
            if after:
                stack.callback(module.register_forward_hook(after).remove)

        def run(tokens: Tensor, ends: Tensor) -> _Pass:
            read.clear()
            zeros.clear()
            hidden = body(input_ids=tokens, use_cache=False).last_hidden_state
            last = hidden[torch.arange(len(ends), device=hidden.device), ends]
            return _Pass(last.float(), ends, dict(read), dict(zeros))

        yield run


def _linear_hooks(name: str, read: dict[str, Tensor], zeros: dict[str, Tensor]) -> tuple[Any, Any]:
    def before(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if name in read:
            raise UnknownPathError(f"it runs {name} twice")
        read[name] = args[0]
        return (args[0].detach(), *args[1:]), kwargs

    def after(_: Any, __: Any, output: Tensor) -> Tensor:
        zeros[name] = torch.zeros_like(output, requires_grad=True)
        return output.detach() + zeros[name]

    return before, after


def _cut(_: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    def cut(value: Any) -> Any:
        return value.detach() if isinstance(value, Tensor) else value

    return tuple(map(cut, args)), {key: cut(value) for key, value in kwargs.items()}


def _frozen(module: Any, args: tuple[Any, ...], output: Tensor) -> Tensor:
    """A norm as a linear map: with the centre and the scale that it has for the base."""
    if not isinstance(output, Tensor) or not args or not args[0].requires_grad:
        return output
    x = args[0].detach().float()
    with torch.no_grad():

        def forward(values: Tensor) -> Tensor:
            return module.forward(values.to(args[0].dtype), *args[1:]).float()

        y, offset = output.float(), forward(torch.zeros_like(x))
        moved = forward(x + x.abs().mean())
        if torch.allclose(moved, y, atol=SAME * float(y.abs().max()), rtol=SAME):
            x = x - x.mean(dim=-1, keepdim=True)
        slope = torch.where(x == 0, 0.0, (y - offset) / x)
    return output.detach() + ((args[0] - args[0].detach()) * slope).to(output.dtype)


@dataclass
class _Found:
    """What one batch of probes says of a writer, before all are joined."""

    inputs: Tensor
    effects: Tensor
    heads: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)
    slopes: dict[str, tuple[Tensor, ...]] = field(default_factory=dict)


def _of_batch(run: _Pass, alone: _Pass, heads: int) -> dict[str, _Found]:
    ones = run.of_output(torch.ones_like(run.last))
    signs = torch.where(torch.arange(run.last.shape[1]) % 3 == 0, -1.0, 1.0).to(run.last)
    signed = run.of_output(signs.expand_as(run.last))
    writers: dict[str, _Found] = {}
    for name, gradient in ones.items():
        effects = run.at_end(gradient)
        if not effects.any():
            continue
        same = (
            run.at_end(signed[name]) - effects * signs
        ).abs().max() <= SAME * effects.abs().max()
        if effects.shape != run.last.shape or not same:
            raise UnknownPathError(f"what {name} gives is not added to its hidden state")
        found = writers[name] = _Found(run.at_end(run.read[name]).detach().float(), effects)
        _find_readers(run, alone, name, heads, found)
    if not writers:
        raise UnknownPathError("no linear module writes into its hidden state")
    return writers


def _find_readers(run: _Pass, alone: _Pass, writer: str, heads: int, found: _Found) -> None:
    width = run.read[writer].shape[-1]
    ones = torch.ones(width)
    reached = run.of_input(writer, ones, run.zeros)
    spread = (by_probe(g, len(run.ends)).any(dim=-1) for g in reached.values())
    if any((s.sum(dim=1) > 1).any() for s in spread):  # tokens before the last
        found.heads = _attention(run, alone, writer, heads, list(reached))
        return
    bits: dict[str, list[Tensor]] = {name: [] for name in reached}
    for weights in _bits(width):
        gradients = run.of_input(writer, weights, reached)
        for name, gradient in reached.items():
            value = gradients.get(name)
            bits[name].append(run.at_end(torch.zeros_like(gradient) if value is None else value))
    for name, gradient in reached.items():
        inputs = run.at_end(run.read[name]).detach().float()
        found.slopes[name] = (inputs, run.at_end(gradient), torch.stack(bits[name]))


def _bits(width: int) -> Iterator[Tensor]:
    """Of numbers from 0, digit by digit, 1 where the digit is 1: exact in any precision."""
    for digit in range(max(1, (width - 1).bit_length())):
        yield ((torch.arange(width) >> digit) & 1).float()


def _attention(
    run: _Pass, alone: _Pass, writer: str, heads: int, names: Sequence[str]
) -> dict[str, tuple[Tensor, ...]]:
    """Of modules that give values: inputs by head (n, heads, in), rows, columns, heads of the edges.

    With one token, all attention is on itself, so that values alone reach the writer, unchanged.
    """
    width = run.read[writer].shape[-1]
    if not heads or width % heads:
        raise UnknownPathError(f"{writer} does not read {heads} heads")
    of_head = torch.arange(width) // (width // heads)
    once = [alone.of_input(writer, (of_head == h).float(), names) for h in range(heads)]
    every = alone.of_input(writer, torch.ones(width), names)
    digits = [
        alone.of_input(writer, weights.repeat(heads), names) for weights in _bits(width // heads)
    ]
    patterns = [run.of_input(writer, (of_head == h).float(), every) for h in range(heads)]
    found: dict[str, tuple[Tensor, ...]] = {}
    count = 0
    for name, total in every.items():
        place = torch.zeros(total.numel(), dtype=torch.long, device=total.device)
        for i, digit in enumerate(digits):
            if name in digit:
                place += (digit[name] / total > 0.5).flatten().long() << i
        tokens = by_probe(run.read[name].detach().float(), len(run.ends))
        inputs, rows, columns, groups = [], [], [], []
        for h in range(heads):
            weight = once[h].get(name, torch.zeros_like(total)).flatten()
            own = (weight.abs() > SAME).nonzero()[:, 0]  # of queries and keys, rounding is left
            if not len(own):
                inputs.append(torch.zeros_like(tokens[:, 0]))
                continue
            if (weight[own] - 1).abs().max() > SAME:
                raise UnknownPathError(f"{writer} reads more than weighted means of values")
            seen = by_probe(patterns[h][name], len(run.ends))[..., own]
            pattern = seen.mean(dim=-1)
            if (seen - pattern[..., None]).abs().max() > SAME:
                raise UnknownPathError(f"{writer} reads more than weighted means of values")
            inputs.append((pattern[..., None] * tokens).sum(dim=1))
            rows.append(own)
            columns.append(h * (width // heads) + place[own])
            groups.append(torch.full_like(own, h))
        if rows:
            found[name] = (torch.stack(inputs, dim=1), *map(torch.cat, (rows, columns, groups)))
            count += len(found[name][1])
    if count != width:
        raise UnknownPathError(f"{writer} reads more than weighted means of values")
    return found


def _joined(found: Sequence[dict[str, _Found]], order: Tensor, network: Any) -> dict[str, Writer]:
    """The batches as one, in the order of the probes, in main memory."""

    def rows(tensors: Iterable[Tensor]) -> Tensor:
        return torch.cat([t.cpu() for t in tensors])[order].contiguous()

    def transposed(name: str) -> bool:
        return _is_transposed(network.get_submodule(name))

    writers: dict[str, Writer] = {}
    for name in found[0]:
        parts = [batch[name] for batch in found]
        effects = rows(p.effects for p in parts)
        scale = effects[0]
        shares = effects @ scale / (scale @ scale)
        if (effects - shares[:, None] * scale).abs().max() > SAME * effects.abs().max():
            raise UnknownPathError(f"what {name} gives is not scaled alike at all probes")
        readers: dict[str, Reader] = {}
        for key, (_, *edges) in parts[0].heads.items():
            inputs = rows(p.heads[key][0] for p in parts)
            slopes = torch.ones(len(inputs), len(edges[0]))
            readers[key] = Reader(inputs, *(e.cpu() for e in edges), slopes, transposed(key))
        for key in parts[0].slopes:
            inputs, slopes = (rows(p.slopes[key][i] for p in parts) for i in (0, 1))
            bits = rows(p.slopes[key][2].transpose(0, 1) for p in parts)
            readers[key] = _edges(key, inputs, slopes, bits, transposed(key))
        writers[name] = Writer(
            rows(p.inputs for p in parts), scale, shares, transposed(name), readers
        )
    return writers


def _edges(name: str, inputs: Tensor, slopes: Tensor, bits: Tensor, transposed: bool) -> Reader:
    """A reader of an MLP, of which each element of the output reaches one of the writer's input.

    :param bits: gradients with the digits of the places, (n_probes, digits, out).
    """
    steepest = slopes.abs().argmax(dim=0)
    rows = slopes.any(dim=0).nonzero()[:, 0]
    best = steepest[rows]
    shares = bits[best, :, rows] / slopes[best, rows][:, None]
    if (shares - shares.round()).abs().max() > SAME or not ((shares > -0.5) & (shares < 1.5)).all():
        raise UnknownPathError(
            f"an element of what {name} gives reaches several of the next matrix"
        )
    digits = torch.arange(shares.shape[1])
    columns = (shares.round().long() << digits).sum(dim=1)
    return Reader(
        inputs[:, None], rows, columns, torch.zeros_like(rows), slopes[:, rows], transposed
    )


def _is_transposed(module: torch.nn.Module) -> bool:
    from transformers.pytorch_utils import Conv1D

    return isinstance(module, Conv1D)
