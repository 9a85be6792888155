"""The graph of an exported program, from JSON to steps: names, weights, operations, outputs."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from synth.errors import InputError, Problems
from synth.formats.program_values import is_check, operation, split_arguments, value
from synth.formats.steps import Outputs, Ref, Step, StepNetwork, Unsupported, Weight


def build(
    program: Mapping[str, Any],
    state: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    place: str,
) -> StepNetwork:
    """The network of a program; InputError with everything in it that is not read.

    KeyError, TypeError or ValueError where the JSON is not what torch writes.
    """
    module = program["graph_module"]
    graph, signature = module["graph"], module["signature"]
    with Problems() as problems:
        weights = _weights(signature["input_specs"], state, constants, place, problems)
        inputs = list(_inputs(signature["input_specs"], graph, place, problems))
        steps = list(_steps(graph["nodes"], place, problems))
        names = _outputs(signature["output_specs"], place, problems)
    keys = _keys(module["module_call_graph"])
    outputs = dict(zip(keys, names, strict=True)) if len(keys) == len(names) else names
    alone = len(names) == 1 and not keys
    return StepNetwork(steps, weights, inputs, names[0] if alone else outputs)


# inputs


def _weights(
    specs: Sequence[Mapping[str, Any]],
    state: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    place: str,
    problems: Problems,
) -> dict[str, Weight]:
    """The weights by the name that the graph has for them."""
    weights: dict[str, Weight] = {}
    for spec in specs:
        ((kind, content),) = spec.items()
        if kind in ("parameter", "buffer", "tensor_constant"):
            name = content[f"{kind}_name"]
            held = constants if name not in state else state
            if name in held:
                weights[content["arg"]["name"]] = Weight(name, held[name], kind == "parameter")
            else:
                problems.add(f"{place} lacks its weight '{name}': it is not whole.")
        elif kind not in ("user_input", "constant_input"):
            problems.add(f"{place}: an input of the program is a {kind}, which is not read.")
    return weights


def _inputs(
    specs: Sequence[Mapping[str, Any]], graph: Mapping[str, Any], place: str, problems: Problems
) -> Iterator[str]:
    """The names of the inputs, which must be tensors with a free batch size."""
    for spec in specs:
        if "user_input" not in spec:
            continue
        given = value(spec["user_input"]["arg"])
        if not isinstance(given, Ref) or given.name not in graph["tensor_values"]:
            problems.add(f"{place}: it takes {given!r} beside tensors, which is not read.")
            continue
        sizes = graph["tensor_values"][given.name]["sizes"]
        if not sizes or "as_expr" not in sizes[0]:
            problems.add(_fixed(given.name, sizes, place))
        yield given.name


def _fixed(name: str, sizes: Sequence[Mapping[str, Any]], place: str) -> str:
    shape = tuple(size.get("as_int", "free") for size in sizes)
    free = '{0: torch.export.Dim("batch")}'
    return (
        f"{place}: its input '{name}' has the fixed shape {shape}, expected a free batch size. "
        "Export it with torch.export.export(module, example, dynamic_shapes=...) with "
        f"{free} for every input, and with an example of 2 samples or more."
    )


# operations


def _steps(nodes: Sequence[Mapping[str, Any]], place: str, problems: Problems) -> Iterator[Step]:
    for node in nodes:
        target, outputs = node["target"], node["outputs"]
        if is_check(target):
            continue
        where = f"{place}: node '{node.get('name') or target}'"
        try:
            function = operation(target)
            given = {entry["name"]: value(entry["arg"]) for entry in node["inputs"]}
            names = [_names(output) for output in outputs]
        except Unsupported as reason:
            problems.add(f"{where}: {reason}.")
            continue
        args, kwargs = split_arguments(function, given)
        made = names[0] if len(names) == 1 else names
        yield Step(function, args, made, where, _path(node["metadata"]), kwargs)


def _names(output: Mapping[str, Any]) -> Outputs:
    """The names that an output of a node gives to one value, or to those of a tuple."""
    found = value(output)
    if isinstance(found, list):
        return [entry.name if isinstance(entry, Ref) else None for entry in found]
    return found.name if isinstance(found, Ref) else None


def _path(metadata: Mapping[str, str]) -> str:
    """The path of the innermost module around a node: `key,path,type;key,path,type`."""
    innermost = metadata.get("nn_module_stack", "").rpartition(";")[2].split(",")
    return re.sub(r"@\d+$", "", innermost[1]) if len(innermost) == 3 else ""


# outputs


def _outputs(specs: Sequence[Mapping[str, Any]], place: str, problems: Problems) -> list[str]:
    names: list[str] = []
    for spec in specs:
        ((kind, content),) = spec.items()
        given = value(content["arg"]) if kind == "user_output" else None
        if isinstance(given, Ref):
            names.append(given.name)
        elif kind == "buffer_mutation":
            changed = f"changes its own buffer '{content['buffer_name']}'"
            problems.add(f"{place}: the network {changed}: call module.eval() before the export.")
        else:
            problems.add(f"{place}: an output of the program is {given or kind}, not a tensor.")
    if not specs:
        raise InputError(f"{place}: the program has no output.")
    return names


def _keys(calls: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of a network that returns one flat dict of tensors, else none."""
    signature = next((c["signature"] for c in calls if not c["fqn"]), None)
    if not signature:
        return []
    _, spec = json.loads(signature["out_spec"])
    if spec["type"] != "builtins.dict" or any(c["type"] for c in spec["children_spec"]):
        return []
    return [str(key) for key in json.loads(spec["context"])]
