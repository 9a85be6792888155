"""Run a network on all samples, layer by layer, and replace layers on the way.

Choosing programs visits the layers in order, and each choice changes what later layers read. A walk
keeps for every batch only the values that some later node reads, so that the whole of it runs each
node once a batch, whatever the number of layers.
"""

from collections.abc import Iterator

import torch
from torch import Tensor, fx, nn

from synth.batches import BATCH, Inputs
from synth.layers import as_maps
from synth.network import Network
from synth.running import Swap, Values
from synth.threads import each


class Walk:
    """One pass over the layers of a network, in topological order, on stored samples.

    `source(layer)` gives what the layer reads, `put(layer, module)` computes it and moves on; after
    the last layer, `output()`. Inputs are read anew wherever they are needed and never kept.
    """

    def __init__(self, network: Network, inputs: Inputs, *, size: int = BATCH) -> None:
        self.network, self.inputs, self.size = network, inputs, size
        self._runner = network.runner
        self._names = [layer.name for layer in network.layers]
        self._at = {node: i for i, node in enumerate(self._runner.steps)}
        self._output = network.output_nodes[network.judged]
        self._needed = self._ancestors()
        self._last = self._last_readers()
        self._ends: dict[int, list[fx.Node]] = {}
        for node, index in self._last.items():
            self._ends.setdefault(index, []).append(node)
        self._kept: list[Values] = [{} for _ in range(0, len(inputs), size)]
        self._done = 0  # layers
        self._place = 0  # steps
        self._move_on()

    @property
    def layer(self) -> str | None:
        """The layer to put next; None behind the last."""
        return self._names[self._done] if self._done < len(self._names) else None

    def source(self, layer: str) -> Iterator[Tensor]:
        """The maps (N, C, H, W) that `layer` reads, given all modules so far, a batch at a time.

        ValueError if it is not this layer's turn.
        """
        self._expect(layer)
        node = self._runner.source(layer)
        return (as_maps(self._values(i)[node]) for i in range(len(self._kept)))

    def put(self, layer: str, module: nn.Module | None = None) -> None:
        """Compute `layer` by a module of maps, or by its own nodes, and go on to the next layer.

        ValueError if it is not this layer's turn.
        """
        self._expect(layer)
        self._done += 1
        if module is None:
            self._move_on()
        else:
            self._needed.difference_update(self._runner.inside(layer))
            self._move_on(self._runner.replacement(layer, module))

    def output(self) -> Tensor:
        """The judged output (N, ...) of all samples; ValueError before the last layer is put."""
        if self.layer is not None:
            raise ValueError(f"the walk stands at layer {self.layer!r}: put it, and those after it")
        rows = [self._values(i)[self._output] for i in range(len(self._kept))]
        return torch.cat(rows)

    def _expect(self, layer: str) -> None:
        if layer != self.layer:
            place = f"at layer {self.layer!r}" if self.layer else "behind the last layer"
            raise ValueError(f"the walk stands {place}, and is asked for {layer!r}")

    def _move_on(self, swap: Swap | None = None) -> None:
        """Run every batch up to the next layer; a swap comes first."""
        steps = self._runner.steps
        stop = len(steps) if self.layer is None else self._at[self._runner.linear(self.layer)]

        def moved(batch: int) -> None:
            values = self._values(batch)
            with torch.no_grad():
                if swap is not None:
                    values[swap.cut] = swap.module(values[swap.source])
                self._run(values, self._place, stop)
            self._kept[batch] = {n: value for n, value in values.items() if n in self._at}

        each(moved, range(len(self._kept)))
        self._place = stop

    def _run(self, values: Values, start: int, stop: int) -> None:
        """Run the steps from `start` to `stop`, and drop what none from there on reads."""
        for index in range(start, stop):
            node = self._runner.steps[index]
            if node in self._needed:
                values[node] = self._runner.run(node, values)
            for dead in self._ends.get(index, ()):
                values.pop(dead, None)

    def _values(self, batch: int) -> Values:
        """What the next steps read in a batch: inputs, constants and what was kept."""
        values = self._runner.constants | self._kept[batch]
        if any(self._last[node] >= self._place for node in self._runner.inputs):
            start = batch * self.size
            inputs = self.inputs.batch(start, start + self.size)
            values.update(zip(self._runner.inputs, inputs, strict=True))
        return values

    def _ancestors(self) -> set[fx.Node]:
        """The nodes that the judged output or some layer depends on."""
        todo = [self._output, *(self._runner.linear(name) for name in self._names)]
        found: set[fx.Node] = set()
        while todo:
            node = todo.pop()
            if node not in found:
                found.add(node)
                todo.extend(node.all_input_nodes)
        return found

    def _last_readers(self) -> dict[fx.Node, int]:
        """The last step that reads each node; the node's own if none does."""
        last = {node: self._at.get(node, -1) for node in self._runner.by_name.values()}
        for node, index in self._at.items():
            if node in self._needed:
                last.update(dict.fromkeys(node.all_input_nodes, index))
        for name in self._names:
            source, index = self._runner.source(name), self._at[self._runner.linear(name)]
            last[source] = max(index, last[source])
        last[self._output] = len(self._at)
        return last
