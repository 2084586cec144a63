"""Products of a few rows with a few columns, held in vector registers: what numba's own loops keep in memory.

A product spends its time moving numbers, not multiplying them. Here six rows share every weight that is read, and
sums stay where they are until they are done. The sum of each number is taken in the same order whatever the tile: a
row's result does not depend on the rows beside it.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
"""Numbers of a vector: one register where they are widest, two or four elsewhere."""
HEIGHT = 6
"""Rows of a tile: with two registers a row, all that fit into sixteen."""
_VECTOR = ir.VectorType(ir.FloatType(), LANES)


def _tile(height: int, panels: int) -> Any:
    """A function that adds to ``height`` rows by ``panels * LANES`` columns of a product."""

    @intrinsic
    def tile(typing_context: Any, rows: Any, i: Any, weights: Any, j: Any, out: Any) -> Any:
        """Add ``rows @ weights`` to ``out``, from row ``i`` and column ``j`` on; no border is checked.

        Args:
            typing_context: given by numba.
            rows: float32 ``[n, at least inputs]``; what is behind the inputs is not read.
            i: first row.
            weights: float32 ``[inputs, outputs]``.
            j: first column.
            out: float32 ``[n, outputs]``.
        """
        if any(array.layout != "C" or array.dtype != types.float32 for array in (rows, weights, out)):
            return None  # numba tells where
        return types.void(rows, i, weights, j, out), _generator(height, panels)

    return tile


def _generator(height: int, panels: int) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, weights, out = (context.make_array(signature.args[k])(context, builder, arguments[k]) for k in (0, 2, 4))
        i, j = (context.cast(builder, arguments[k], signature.args[k], types.intp) for k in (1, 3))
        whole = context.get_value_type(types.intp)
        _, stride = cgutils.unpack_tuple(builder, rows.shape, 2)
        inputs, outputs = cgutils.unpack_tuple(builder, weights.shape, 2)
        own = [builder.gep(rows.data, [builder.mul(builder.add(i, whole(row)), stride)]) for row in range(height)]
        columns = [builder.add(j, whole(panel * LANES)) for panel in range(panels)]

        def vector(start: Any, row: Any, column: Any) -> Any:
            place = builder.add(builder.mul(row, outputs), column)
            return builder.bitcast(builder.gep(start, [place]), _VECTOR.as_pointer())

        ends = [[vector(out.data, builder.add(i, whole(row)), at) for at in columns] for row in range(height)]
        sums = [[cgutils.alloca_once_value(builder, builder.load(at, align=4)) for at in row] for row in ends]
        with cgutils.for_range(builder, inputs) as loop:
            read = [builder.load(vector(weights.data, loop.index, at), align=4) for at in columns]
            for row in range(height):
                number = _spread(builder, builder.load(builder.gep(own[row], [loop.index])))
                for total, weight in zip(sums[row], read, strict=True):
                    product = builder.fmul(number, weight, flags=("contract",))
                    builder.store(builder.fadd(builder.load(total), product, flags=("contract",)), total)
        for totals, places in zip(sums, ends, strict=True):
            for total, place in zip(totals, places, strict=True):
                builder.store(builder.load(total), place, align=4)
        return context.get_dummy_value()

    return generate


def _spread(builder: Any, number: Any) -> Any:
    """A vector of one number."""
    empty, first = ir.Constant(_VECTOR, ir.Undefined), ir.IntType(32)
    held = builder.insert_element(empty, number, first(0))
    return builder.shuffle_vector(held, empty, ir.Constant(ir.VectorType(first, LANES), None))


tall, wide, single = _tile(HEIGHT, 1), _tile(1, 4), _tile(1, 1)
"""Six rows by a panel, a row by four panels, a row by one."""
