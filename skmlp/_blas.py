"""What compiled code needs and Numba lacks: views without a reference count, and BLAS's
product, which adds to what is there.

Each is an intrinsic of Numba's, which writes the instructions, and plain Python where
nothing is compiled. (An overload would be compiled by itself for each kind of argument:
a tenth of the first fit.)
"""

from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic
from numba.np.arrayobj import populate_array

for name in ("sgemm", "dgemm"):  # SciPy's, under a name that machine code on disk keeps
    address = get_cython_function_address("scipy.linalg.cython_blas", name)
    llvmlite.binding.add_symbol(f"skmlp_{name}", address)


def view(array, start, shape):
    """The numbers of a C-contiguous array from `start` on, as an array of a shape (n,)
    or (n, m): valid as long as the array is."""
    return array.reshape(-1)[start : start + np.prod(shape)].reshape(shape)


def multiply_add(A, B, beta, C):
    """C (m, n) <- A (m, k) B (k, n) + beta C; A and B C-contiguous, or transposed."""
    C[:] = A @ B + (beta * C if beta else 0)


@intrinsic
def compiled_view(typing_context, array, start, shape):
    result = types.Array(array.dtype, shape.count, "C")

    def lower(context, builder, signature, args):
        whole = context.make_array(array)(context, builder, args[0])
        part = context.make_array(result)(context, builder)
        lengths = cgutils.unpack_tuple(builder, args[2], shape.count)
        size = context.get_constant(types.intp, array.dtype.bitwidth // 8)
        strides = [builder.mul(n, size) for n in lengths[1:]] + [size]
        first = builder.gep(whole.data, [args[1]])
        populate_array(part, first, lengths, strides, size, meminfo=None)
        return part._getvalue()

    return result(array, types.intp, shape), lower


@intrinsic
def compiled_multiply_add(typing_context, A, B, beta, C):
    """BLAS's columns are our rows, so we ask for C^T <- B^T A^T + beta C^T."""

    def lower(context, builder, signature, args):
        def pointer_to(value):  # BLAS takes all by reference, and 32-bit integers
            if value.type == ir.IntType(64):
                value = builder.trunc(value, ir.IntType(32))
            place = cgutils.alloca_once_value(builder, value)
            return builder.bitcast(place, cgutils.voidptr_t)

        def matrix(kind, value):
            array = context.make_array(kind)(context, builder, value)
            rows, columns = cgutils.unpack_tuple(builder, array.shape, 2)
            is_transposed = kind.layout == "F"
            code = ir.Constant(ir.IntType(8), ord("T" if is_transposed else "N"))
            stride = pointer_to(rows if is_transposed else columns)
            data = builder.bitcast(array.data, cgutils.voidptr_t)
            return rows, columns, pointer_to(code), data, stride

        m, k, code_A, data_A, stride_A = matrix(A, args[0])
        _, n, code_B, data_B, stride_B = matrix(B, args[1])
        _, _, _, data_C, stride_C = matrix(C, args[3])
        one = ir.Constant(context.get_value_type(C.dtype), 1.0)
        name = "skmlp_dgemm" if C.dtype == types.float64 else "skmlp_sgemm"
        kind = ir.FunctionType(ir.VoidType(), [cgutils.voidptr_t] * 13)
        gemm = cgutils.get_or_insert_function(builder.module, kind, name)
        m, n, k, one, beta = map(pointer_to, (m, n, k, one, args[2]))
        A_and_B = data_B, stride_B, data_A, stride_A
        builder.call(
            gemm, [code_B, code_A, n, m, k, one, *A_and_B, beta, data_C, stride_C]
        )
        return context.get_dummy_value()

    return types.void(A, B, C.dtype, C), lower


if not config.DISABLE_JIT:  # type: ignore[attr-defined]
    view: Any = compiled_view  # type: ignore[no-redef]
    multiply_add: Any = compiled_multiply_add  # type: ignore[no-redef]
