"""What one adaptation step costs, counted on the traced graph.

Multiply-adds are those of matrix products and convolutions, which outweigh the elementwise rest in any
network; torch's own formulas count them. Peak memory is the most tensor bytes alive at one time when the
graph runs in order and every tensor is freed after its last use: the runtime's own footprint (about 60 MiB
for Python with onnxruntime) comes on top.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.fx import GraphModule, Node
from torch.utils.flop_counter import FlopCounterMode


@dataclass(frozen=True)
class StepCost:
    """Figures of one adaptation step over one full batch.

    Attributes:
        multiply_adds: of matrix products and convolutions, forward and backward.
        peak_bytes: tensor bytes alive at once, parameters and batch included.
    """

    multiply_adds: int
    peak_bytes: int


def step_cost(graph: GraphModule, tensors: Sequence[Tensor]) -> StepCost:
    """Run a traced graph once and count.

    Args:
        graph: what `trace_step` gives.
        tensors: its inputs, shaped as on the device.
    """
    sizes = _SizingInterpreter(graph)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        sizes.run(*tensors)
    return StepCost(multiply_adds=counter.get_total_flops() // 2, peak_bytes=_peak(graph, sizes.storages))


def prediction_multiply_adds(model: nn.Module, params: Mapping[str, Tensor], x: Tensor) -> int:
    """Of matrix products and convolutions in one forward pass over `x`."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        functional_call(model, dict(params), (x,))
    return counter.get_total_flops() // 2


def parameter_count(params: Iterable[Tensor]) -> int:
    """Numbers in all."""
    return sum(param.numel() for param in params)


class _SizingInterpreter(torch.fx.Interpreter):
    """Runs a graph and notes which storages each node's value lives in; views share their base's."""

    def __init__(self, graph: GraphModule) -> None:
        super().__init__(graph, garbage_collect_values=False)  # a freed address could be given out again
        self.storages: dict[Node, dict[int, int]] = {}

    def run_node(self, n: Node) -> object:
        value = super().run_node(n)
        self.storages[n] = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes()
            for tensor in _tensors(value)
        }
        return value


def _peak(graph: GraphModule, storages: dict[Node, dict[int, int]]) -> int:
    nodes = list(graph.graph.nodes)
    uses = Counter(address for node in nodes for address in _touched(node, storages))
    # Inputs stay alive throughout: the caller owns them.
    alive = {
        address: size
        for node in nodes
        if node.op == "placeholder"
        for address, size in storages[node].items()
    }
    owned = set(alive)
    peak = sum(alive.values())
    for node in nodes:
        alive |= storages[node]
        peak = max(peak, sum(alive.values()))
        for address in _touched(node, storages):
            uses[address] -= 1
            if uses[address] == 0 and address not in owned:
                alive.pop(address, None)
    return peak


def _touched(node: Node, storages: dict[Node, dict[int, int]]) -> Iterator[int]:
    for other in (node, *node.all_input_nodes):
        yield from storages[other]


def _tensors(value: object) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _tensors(item)
