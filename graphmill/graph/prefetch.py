"""A software prefetch for numba kernels: asks the processor for a cache line before it is needed.

Walking a graph is a chain of reads at random places, each a miss that costs as much as two hundred
additions. A kernel that knows the next places hides that time by asking for them a few turns ahead.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

AHEAD = 12
"""How many turns ahead kernels ask: far enough to hide a miss, near enough to stay in the cache."""

_READ, _KEEP, _DATA = 0, 3, 1


@intrinsic
def prefetch(typing_context: Any, array: Any, index: Any) -> Any:
    """Ask for the cache line of ``array[index]``; ``index`` is not checked, and a wrong one does no harm.

    Args:
        typing_context: given by numba.
        array: a one-dimensional array.
        index: an integer.
    """
    signature = types.void(array, index)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        view = context.make_array(kind)(context, builder, arguments[0])
        place = context.cast(builder, arguments[1], signature.args[1], types.intp)
        address = cgutils.get_item_pointer2(
            context, builder, view.data, [view.nitems], cgutils.unpack_tuple(builder, view.strides, 1), "A", [place]
        )
        generic = builder.bitcast(address, ir.IntType(8).as_pointer())
        integer = ir.IntType(32)
        name = "llvm.prefetch.p0"
        declared = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(ir.VoidType(), [generic.type, integer, integer, integer]), name
        )
        builder.call(declared, [generic, *(integer(value) for value in (_READ, _KEEP, _DATA))])
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def pointer_to(typing_context: Any, address: Any) -> Any:
    """An address as a pointer, for ``numba.carray``: a kernel reads a table of arrays without being compiled for it.

    Args:
        typing_context: given by numba.
        address: where an array begins, as an integer; the caller keeps the array alive.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], cgutils.voidptr_t)

    return types.voidptr(address), generate
