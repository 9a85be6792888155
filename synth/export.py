"""From a torch module to a graph of pure aten operations, with a free batch dimension."""

import warnings

import torch
from torch import Tensor, fx, nn
from torch._ops import OpOverload
from torch.fx.graph import CodeGen

from synth.errors import InputError
from synth.nodes import schema_name

# Operations that may return their input itself although their schema does not say so.
_MAY_ALIAS = frozenset({"dropout", "feature_dropout", "reshape", "flatten", "contiguous", "to"})


class ReadError(InputError, ValueError):
    """A network cannot be read; `problems` lists every reason found, each naming its place."""


def export_graph(module: nn.Module, example: Tensor) -> fx.GraphModule:
    """Export `module`, already in eval mode, as a graph of one tensor in and one tensor out.

    `example` (N, ...) gives the shape of a sample. In-place operations become pure, so that a
    value recorded anywhere stays what it was. Raises ReadError if `torch.export` refuses.
    """
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of its own deprecated types
        program = _export(module, example)
        graph_module = _unpacked(program)
        if not _make_pure(graph_module.graph):
            # A write through shared memory: torch's own functionalisation knows about aliases,
            # at the price of less familiar operations; so it is used only here.
            graph_module = _unpacked(program.run_decompositions({}))
            _restore_batch_norm(graph_module.graph)
            _keep_input(graph_module.graph)
    graph_module.graph.eliminate_dead_code()
    return referenced(graph_module)


def referenced(module: fx.GraphModule) -> fx.GraphModule:
    """The same graph in a module that holds only the parameters and modules it refers to."""
    result = fx.GraphModule(module, module.graph)
    result.train(False)
    return result


def _export(module: nn.Module, example: Tensor) -> torch.export.ExportedProgram:
    if example.dim() < 2 or example.shape[0] < 1:
        raise ReadError(
            f"the example input has shape {tuple(example.shape)}: expected a batch (N, ...) of at "
            "least one sample. Add a first dimension with example[None]."
        )
    # Two equal samples: torch.export takes a dimension of size 1 for a constant.
    batch = example[:1].repeat(2, *(1,) * (example.dim() - 1))
    try:
        return torch.export.export(
            module, (batch,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
    except Exception as error:  # torch raises many types; the reader must act on all of them
        raise ReadError(
            f"torch.export cannot trace {type(module).__name__} with a free batch size "
            f"({type(error).__name__}: {error}). Make forward(x) a function of one tensor, "
            "without branches on values and without a fixed batch size."
        ) from error


def _unpacked(program: torch.export.ExportedProgram) -> fx.GraphModule:
    """The program's module with plain tensors in and out and without export's guards."""
    inputs = program.graph_signature.user_inputs
    spec = program.call_spec.out_spec
    if len(inputs) != 1 or spec is None or not spec.is_leaf():
        raise ReadError(
            f"the network takes {len(inputs)} inputs and returns {spec}: expected one tensor in "
            "and one tensor out. Wrap it in a module whose forward does that."
        )
    module = program.module()
    assert isinstance(module, fx.GraphModule)
    graph = module.graph
    graph.set_codegen(CodeGen())
    _drop_checks(graph)
    output = graph.output_node()
    output.args = (output.args[0][0],)  # type: ignore[index]  # a tuple of one
    return module


def _drop_checks(graph: fx.Graph) -> None:
    """Remove what only checks the dtype or the batch size that the export happened to see."""
    for node in reversed(graph.nodes):
        guard = node.op == "call_module" and node.target == "_guards_fn"
        if guard or schema_name(node) == "_assert_tensor_metadata":
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


def _restore_batch_norm(graph: fx.Graph) -> None:
    """Write functionalised batch norms as the one operation that they came from."""
    for node in list(graph.nodes):
        source = node.args[0] if schema_name(node) == "getitem" else None
        if not isinstance(source, fx.Node) or node.args[1] != 0:
            continue
        if schema_name(source) == "_native_batch_norm_legit_no_training":
            args = (*source.args[:5], False, *source.args[5:], False)
            _substitute(graph, node, torch.ops.aten.batch_norm.default, args)


def _keep_input(graph: fx.Graph) -> None:
    """Drop the copies that write a changed input back to the caller's tensor."""
    for node in reversed(graph.nodes):
        if schema_name(node) == "copy_" and node.all_input_nodes[0].op == "placeholder":
            node.replace_all_uses_with(node.all_input_nodes[1])
            graph.erase_node(node)
