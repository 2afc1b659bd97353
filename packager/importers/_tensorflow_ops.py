"""TensorFlow graphs are programs: which of their operators reach out of the graph, to files, processes or Python."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from packager.errors import ConversionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_HARMLESS = (
    "AnonymousHashTable",
    "AnonymousMutableHashTable",
    "AnonymousSeedGenerator",
    "Assert",
    "Assign",
    "Case",
    "CheckNumerics",
    "Cudnn",
    "DeepCopy",
    "DestroyResourceOp",
    "DeviceIndex",
    "DisableCopyOnRead",
    "Empty",
    "GuaranteeConst",
    "HashTable",
    "If",
    "InitializeTableFromDataset",
    "InitializeTableV2",
    "LookupTable",
    "Multinomial",
    "MutableDenseHashTable",
    "MutableHashTable",
    "NonDeterministicInts",
    "Parameterized",
    "Random",
    "ReadVariableOp",
    "Resource",
    "Rng",
    "Stack",
    "Stateful",
    "StatelessRandomGetAlg",
    "TensorArray",
    "Truncated",
    "VarHandleOp",
    "VarIsInitializedOp",
    "Variable",
    "While",
    "_Arg",
    "_Retval",
)
"""How the names of operators with state begin that keep to variables, tables, randomness and control flow."""
_REACHING = (
    "Debug",
    "DecodeProto",
    "EncodeProto",
    "ImmutableConst",
    "InitializeTableFromTextFile",
    "MatchingFiles",
    "PyFunc",
    "ReadFile",
)
"""How the names of operators begin that reach files, servers or Python, and that TensorFlow holds to have no state."""
_WRITES = frozenset({"MergeV2Checkpoints", "Save", "SaveSlices", "SaveV2"})
_CHECKPOINTS = _WRITES | {"Restore", "RestoreSlice", "RestoreV2", "ShardedFilename", "ShardedFilespec"}
"""In every SavedModel, for saving and restoring it: refused where they are run for something else."""
_MOST = 10


def refuse_reaching(
    name: str,
    graph: Any,  # noqa: ANN401 - a GraphDef
    run: Iterable[str],
    restored: Iterable[str],
    *,
    trusted: bool,
) -> None:
    """See that the graph and its functions hold no operator that reaches out of them.

    `run` are the nodes that are run, `restored` those that are run to restore a checkpoint.

    Raises:
        ConversionError: one does, and nobody said that the model is trusted.
    """
    if trusted:
        return
    found = list(_reaching(graph, set(run), set(restored)))
    if not found:
        return
    lines = [f"{node} ({operator})" for node, operator in found[:_MOST]]
    if len(found) > _MOST:
        lines.append(f"and {len(found) - _MOST} more")
    raise ConversionError(
        "import.code",
        f"'{name}' reaches files, servers or Python code when it is run:\n  " + "\n  ".join(lines),
        hint="export it without these; or, where you know who made it, set trusted = true in [model]",
    )


def check_calls(name: str, graph: Any) -> None:  # noqa: ANN401 - a GraphDef
    """See that the graph holds every function that its nodes are told to call.

    TensorFlow's own error for one that it misses holds the whole library as text, and the regular expression that it
    searches that text with takes minutes.

    Raises:
        ConversionError: it does not hold one.
    """
    known = {function.signature.name for function in graph.library.function}
    for nodes in (graph.node, *(function.node_def for function in graph.library.function)):
        for node in nodes:
            called = {value.func.name for value in node.attr.values() if value.HasField("func")}
            called.update(func.name for value in node.attr.values() for func in value.list.func)
            for missing in sorted(called - known):
                raise ConversionError(
                    "import.savedmodel",
                    f"'{name}' is damaged: node '{node.name}' calls the function '{missing}', which is not in it",
                )


def _reaching(graph: Any, run: set[str], restored: set[str]) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - a GraphDef
    bodies = {function.signature.name: function.node_def for function in graph.library.function}
    asked, restoring = _asked_for(graph, bodies, run), _asked_for(graph, bodies, restored)
    for owner, nodes in (("", graph.node), *bodies.items()):
        for node in nodes:
            where = owner or node.name
            if node.op in _CHECKPOINTS:
                reaches = where in asked or (where in restoring and node.op in _WRITES)
            else:
                reaches = _reaches_out(node.op, bodies)
            if reaches:
                yield f"{owner}/{node.name}" if owner else node.name, node.op


def _asked_for(graph: Any, bodies: dict[str, Any], roots: set[str]) -> set[str]:  # noqa: ANN401 - likewise
    """The functions and nodes of the main graph that the roots need."""
    nodes = {node.name: node for node in graph.node}
    waiting, seen = list(roots), set[str]()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        inner = bodies.get(name, [nodes[name]] if name in nodes else [])
        for node in inner:
            waiting.extend(value.func.name for value in node.attr.values() if value.HasField("func"))
            waiting.extend(func.name for value in node.attr.values() for func in value.list.func)
            waiting.append(node.op)
            if name not in bodies:
                waiting.extend(entry.removeprefix("^").partition(":")[0] for entry in node.input)
    return seen


def _reaches_out(operator: str, bodies: dict[str, Any]) -> bool:
    from tensorflow.python.framework import op_def_registry

    definition = op_def_registry.get(operator)
    if operator in bodies or definition is None:  # an operator of a library that is not here can't run
        return False
    stateful = definition.is_stateful and not operator.startswith(_HARMLESS)
    return bool(stateful) or operator.startswith(_REACHING)
