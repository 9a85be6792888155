"""From a torch module to a graph of pure aten operations, with a free batch dimension."""

import inspect
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.utils import _pytree as pytree

from synth.batches import Batch
from synth.errors import InputError
from synth.nodes import schema_name
from synth.normalise import normalise
from synth.paths import safe_path

# Operations that may return their input itself although their schema does not say so.
_MAY_ALIAS = frozenset({"dropout", "feature_dropout", "reshape", "flatten", "contiguous", "to"})


class ReadError(InputError, ValueError):
    """A network cannot be read; `problems` lists every reason found, each naming its place."""


@dataclass(frozen=True)
class Exported:
    """A graph of pure operations, tensors in and tensors out, and the names of its outputs.

    `module` returns a tensor if there is one output, else a tuple in order of `outputs`.
    """

    module: fx.GraphModule
    outputs: tuple[str, ...]


def export_graph(module: nn.Module, example: Batch) -> Exported:
    """Export `module`, already in eval mode, as a graph of tensors in and tensors out.

    `example` holds a tensor (N, ...) for each input. In-place operations become pure, so that a
    value recorded anywhere stays what it was. Raises ReadError if `torch.export` refuses.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated types
        program = exported_program(module, example)
        _rename(program)
        names = _output_names(program)
        graph_module = _unlifted(program)
        if not _make_pure(graph_module.graph):
            # A write through shared memory: torch's own functionalisation knows about aliases,
            # at the price of less familiar operations; so it is used only here.
            graph_module = _unlifted(program.run_decompositions({}))
        graph_module.graph.eliminate_dead_code()
        normalise(graph_module)
    return Exported(referenced(graph_module), names)


def referenced(module: fx.GraphModule) -> fx.GraphModule:
    """The same graph in a module that holds only the parameters and modules it refers to."""
    result = fx.GraphModule(module, module.graph)
    result.train(False)
    return result


def exported_program(module: nn.Module, example: Batch) -> torch.export.ExportedProgram:
    """`module`, in eval mode, as torch exports it with a free batch size. Raises ReadError."""
    for i, tensor in enumerate(example):
        if tensor.dim() < 1 + (len(example) == 1) or tensor.shape[0] < 1:
            which = f"{i + 1} of {len(example)} " if len(example) > 1 else ""
            raise ReadError(
                f"the example input {which}has shape {tuple(tensor.shape)}: expected a batch "
                "(N, ...) of at least one sample. Add a first dimension with example[None]."
            )
    # Two equal samples: torch.export takes a dimension of size 1 for a constant.
    batch = tuple(x[:1].repeat(2, *(1,) * (x.dim() - 1)) for x in example)
    try:
        return torch.export.export(
            module, batch, dynamic_shapes=_free_batch(module, len(batch)), strict=False
        )
    except Exception as error:  # torch raises many types; the reader must act on all of them
        raise ReadError(
            f"torch.export cannot trace {type(module).__name__} with a free batch size "
            f"({type(error).__name__}: {error}). Make forward a function of one tensor (N, ...) "
            "for each input, without branches on values and without a fixed batch size."
        ) from error


def _free_batch(module: nn.Module, inputs: int) -> tuple[Any, ...]:
    """One free size for the first dimension of every input; `*inputs` are grouped in a tuple."""
    size = {0: torch.export.Dim("batch")}
    kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return (size,) * inputs
    alone = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return (*(size,) * alone, (size,) * (inputs - alone))


def _output_names(program: torch.export.ExportedProgram) -> tuple[str, ...]:
    """The keys of a dict of outputs, else output, output_1 …; ReadError without any tensor."""
    spec, names = program.call_spec.out_spec, []
    assert spec is not None
    places, _ = pytree.tree_flatten_with_path(pytree.tree_unflatten(_user_outputs(program), spec))
    for path, value in places:
        if isinstance(value, fx.Node):
            keys = [str(key.key) for key in path if isinstance(key, pytree.MappingKey)]
            base = ".".join(keys) or (f"output_{len(names)}" if names else "output")
            names.append(base if base not in names else f"{base}_{len(names)}")
        elif value is not None:
            raise ReadError(f"the network returns {value!r} among its outputs: expected tensors")
    if not names:
        raise ReadError("the network returns no tensor: expected at least one")
    return tuple(names)


def _unlifted(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """The program as a module that holds its own parameters and buffers, without guards."""
    graph, root = fx.Graph(), nn.Module()
    copied: dict[fx.Node, fx.Node] = {}
    held = {spec.arg.name: spec for spec in program.graph_signature.input_specs if spec.target}
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name in held:
            path = str(held[node.name].target)
            copied[node] = _attribute(graph, root, path, _held(program, path))
            copied[node].meta = dict(node.meta)
        elif node.op == "get_attr":
            value = program.graph_module.get_submodule(str(node.target))
            copied[node] = _attribute(graph, root, str(node.target), value)
        elif node.op == "output":
            given = _user_outputs(program)
            values = [copied[value] for value in given if isinstance(value, fx.Node)]
            graph.output(tuple(values) if len(values) > 1 else values[0])
        else:
            copied[node] = graph.node_copy(node, copied.__getitem__)
    _drop_checks(graph)
    return fx.GraphModule(root, graph)


def _held(program: torch.export.ExportedProgram, name: str) -> Any:
    state = program.state_dict
    return state[name] if name in state else program.constants[name]


def _attribute(graph: fx.Graph, root: nn.Module, path: str, value: Any) -> fx.Node:
    """A node that reads `value`, kept in `root` at `path`."""
    *parents, leaf = path.split(".")
    for name in parents:
        if name not in root._modules:
            root.add_module(name, nn.Module())
        root = root.get_submodule(name)
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        root.register_buffer(leaf, value)
    else:
        setattr(root, leaf, value)
    return graph.get_attr(path)


def _rename(program: torch.export.ExportedProgram) -> None:
    """Give parameters and buffers paths that torch can write, as no `self.class.weight` is."""
    signature = program.graph_signature
    written = [s for s in signature.output_specs if s.kind.name.startswith(("BUFFER", "PARAM"))]
    for spec in (*signature.input_specs, *written):
        spec.target = spec.target and safe_path(spec.target)
    for held in (program.state_dict, program.constants):
        renamed = {safe_path(name): value for name, value in held.items()}
        held.clear()
        held.update(renamed)


def _user_outputs(program: torch.export.ExportedProgram) -> list[Any]:
    """What the network returns, flat, without the inputs and buffers that it writes to."""
    spec, outputs = program.call_spec.out_spec, program.graph.output_node().args[0]
    assert spec is not None and isinstance(outputs, list | tuple)
    return list(outputs[len(outputs) - spec.num_leaves :])


def _drop_checks(graph: fx.Graph) -> None:
    """Remove what only checks the dtype or the batch size that the export happened to see."""
    for node in reversed(graph.nodes):
        if schema_name(node) == "_assert_tensor_metadata":
            graph.erase_node(node)


def _make_pure(graph: fx.Graph) -> bool:
    """Replace in-place operations by pure ones; False if a write may be seen by another reader."""
    for node in list(graph.nodes):
        if not (isinstance(node.target, OpOverload) and node.target._schema.is_mutable):
            continue
        pure = _pure(node.target)
        if pure is None or not _sole_reader(node):
            return False
        _substitute(graph, node, pure, node.args)
    return True


def _pure(target: OpOverload) -> OpOverload | None:
    packet = getattr(torch.ops.aten, target._schema.name.removeprefix("aten::").rstrip("_"), None)
    return getattr(packet, target._overloadname, None)


def _sole_reader(node: fx.Node) -> bool:
    """Nobody but `node` reads the memory it writes, seen through operations that share memory."""
    written = node.args[0]
    while isinstance(written, fx.Node) and written.op == "call_function":
        if len(written.users) > 1:
            return False
        if not _shares_memory(written):
            return True
        written = written.args[0] if written.args else None
    return False


def _shares_memory(node: fx.Node) -> bool:
    if not isinstance(node.target, OpOverload) or schema_name(node) in _MAY_ALIAS:
        return True
    return any(value.alias_info is not None for value in node.target._schema.returns)


def _substitute(graph: fx.Graph, node: fx.Node, target: OpOverload, args: tuple) -> None:
    name = target._schema.name.removeprefix("aten::")
    with graph.inserting_after(node):
        new = graph.create_node("call_function", target, args, dict(node.kwargs), name=name)
    new.meta = dict(node.meta)
    node.replace_all_uses_with(new)
    graph.erase_node(node)
