"""Operations and arguments of an exported program, from JSON to torch: a closed list of each."""

import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch._ops import OpOverload

from synth.formats.steps import Ref, Unsupported

DTYPES: Mapping[int, torch.dtype] = {
    1: torch.uint8,
    2: torch.int8,
    3: torch.int16,
    4: torch.int32,
    5: torch.int64,
    6: torch.float16,
    7: torch.float32,
    8: torch.float64,
    12: torch.bool,
    13: torch.bfloat16,
}
_MEMORY_FORMATS: Mapping[int, torch.memory_format] = {
    1: torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
    4: torch.preserve_format,
}
# Words that operations take; another string could be the name of a file to write.
_WORDS = re.compile(
    "same|valid|none|tanh|floor|trunc|constant|reflect|replicate|circular|mean|sum|linear"
    "|[a-zA-Z.]+(,[a-zA-Z.]+)*->[a-zA-Z.]*"  # the equation of einsum
)
_ARITHMETIC = ("abs", "add", "floordiv", "getitem", "mod", "mul", "neg", "pow", "sub", "truediv")
_COMPARISONS = ("and_", "eq", "ge", "gt", "le", "lt", "ne", "or_")
_SIZES: Mapping[str, Callable[..., Any]] = {
    **{f"_operator.{n}": getattr(operator, n) for n in _ARITHMETIC + _COMPARISONS},
    "math.ceil": math.ceil,
    "math.floor": math.floor,
    "math.trunc": math.trunc,
    "torch.sym_float": torch.sym_float,
    "torch.sym_int": torch.sym_int,
    "torch.sym_max": torch.sym_max,
    "torch.sym_min": torch.sym_min,
    "torch.sym_not": torch.sym_not,
}
# Private operations that torch.export itself puts in the place of public ones.
_PRIVATE = frozenset(
    {"_adaptive_avg_pool2d", "_log_softmax", "_native_batch_norm_legit_no_training", "_softmax"}
    | {"_to_copy", "_unsafe_view", "_upsample_nearest_exact1d", "_upsample_nearest_exact2d"}
)
# Operations that make tensors from nothing but sizes.
_MAKING = frozenset(
    {"arange", "empty", "eye", "full", "linspace", "ones", "scalar_tensor", "zeros"}
)
# They check sizes or record facts about them; the network is traced again, and checked then.
_CHECKS = re.compile(
    r"torch[.]ops[.]aten[.](_assert_\w+|sym_constrain_\w+)[.]\w+|torch[.]_check\w*"
)


def is_check(target: str) -> bool:
    """The operation computes nothing."""
    return bool(_CHECKS.fullmatch(target))


def operation(target: str) -> Callable[..., Any]:
    """The function that a program calls `target`; Unsupported unless it is one of torch's own."""
    if target in _SIZES:
        return _SIZES[target]
    if target.startswith("torch.ops.higher_order."):
        raise Unsupported(f"{target} has a graph inside, which is not read")
    found = re.fullmatch(r"torch[.]ops[.](\w+)[.](\w+)[.](\w+)", target, flags=re.ASCII)
    if not found:
        raise Unsupported(f"{target} is no operation of a tensor program")
    library, name, overload = found.groups()
    if library != "aten":
        raise Unsupported(
            f"{library}::{name} is a custom operation, not one of torch's own: write it in torch "
            "functions before the export, or name the network by a factory"
        )
    known = getattr(getattr(torch.ops.aten, name, None), overload, None)
    if not isinstance(known, OpOverload) or not _is_plain(known, name):
        raise Unsupported(f"aten::{name}.{overload} is no operation of networks that torch has")
    return known


def _is_plain(function: OpOverload, name: str) -> bool:
    """It computes tensors or sizes from tensors, and touches nothing else."""
    kinds = {str(a.type) for a in function._schema.arguments}
    reads = any("Tensor" in kind for kind in kinds)
    return (reads or name in _MAKING) and (not name.startswith("_") or name in _PRIVATE)


def split_arguments(
    function: Callable[..., Any], given: Mapping[str, Any]
) -> tuple[list[Any], dict[str, Any]]:
    """Arguments by name as positional ones and keywords, as `function` declares them."""
    if not isinstance(function, OpOverload):
        return list(given.values()), {}
    rest, positional = dict(given), []
    for argument in function._schema.arguments:
        if argument.kwarg_only or argument.name not in rest:
            break
        positional.append(rest.pop(argument.name))
    return positional, rest


def value(argument: Mapping[str, Any]) -> Any:
    """An argument as JSON writes it, `{kind: content}`; Unsupported for one that is no data."""
    ((kind, content),) = argument.items()
    if kind not in _KINDS:
        raise Unsupported(f"its argument is {kind.removeprefix('as_')}, which is not read")
    return _KINDS[kind](content)


def _plain(content: Any) -> Any:
    return content


def _none(_: Any) -> None:
    return None


def _tensor(content: Mapping[str, str]) -> Ref:
    return Ref(content["name"])


def _tensors(content: list[Mapping[str, str]]) -> list[Ref]:
    return [Ref(entry["name"]) for entry in content]


def _sized(content: Mapping[str, Any]) -> Any:
    """A number, or the name of a size."""
    ((kind, number),) = content.items()
    return Ref(number) if kind == "as_name" else _number(number)


def _sizes(content: list[Mapping[str, Any]]) -> list[Any]:
    return [_sized(entry) for entry in content]


def _number(content: Any) -> Any:
    return float(content) if isinstance(content, str) else content  # JSON has no infinity


def _numbers(content: list[Any]) -> list[Any]:
    return [_number(entry) for entry in content]


def _values(content: list[Mapping[str, Any]]) -> list[Any]:
    return [value(entry) for entry in content]


def _text(content: str) -> str:
    if not _WORDS.fullmatch(content):
        raise Unsupported(f"its argument {content!r} is none of the words that operations take")
    return content


def _dtype(content: int) -> torch.dtype:
    if content not in DTYPES:
        raise Unsupported(f"numbers of the kind {content} are not read")
    return DTYPES[content]


def _memory_format(content: int) -> torch.memory_format:
    return _MEMORY_FORMATS[content]


def _layout(content: int) -> torch.layout:
    if content != 7:
        raise Unsupported("sparse tensors are not read")
    return torch.strided


def _device(_: Any) -> torch.device:
    return torch.device("cpu")  # wherever it was exported: the reader works on the processor


_KINDS: Mapping[str, Callable[[Any], Any]] = {
    "as_none": _none,
    "as_tensor": _tensor,
    "as_tensors": _tensors,
    "as_optional_tensor": value,
    "as_optional_tensors": _values,
    "as_int": _plain,
    "as_ints": _plain,
    "as_float": _number,
    "as_floats": _numbers,
    "as_bool": _plain,
    "as_bools": _plain,
    "as_sym_int": _sized,
    "as_sym_ints": _sizes,
    "as_sym_float": _sized,
    "as_sym_floats": _sizes,
    "as_sym_bool": _sized,
    "as_string": _text,
    "as_scalar_type": _dtype,
    "as_memory_format": _memory_format,
    "as_layout": _layout,
    "as_device": _device,
}
