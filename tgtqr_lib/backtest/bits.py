"""Sets of quarter hours as bits, 64 a word: making them, and walking from one to the next."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from tgtqr_lib.backtest.money import compiled

WORD = 64
ONE, NONE, ALL = np.uint64(1), np.uint64(0), np.uint64(2**64 - 1)
TOP = np.uint64(63)


@intrinsic
def trailing_zeros(typingctx, word):
    """How many zero bits follow the lowest set bit of a uint64 that has one."""

    def generate(context, builder, signature, arguments):
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def leading_zeros(typingctx, word):
    """How many zero bits stand before the highest set bit of a uint64 that has one."""

    def generate(context, builder, signature, arguments):
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


def _compared(order: str, levels, bound):
    """An intrinsic's signature and code: 64 int16 compared with `bound` at once, as 64 bits."""

    def generate(context, builder, signature, arguments):
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        first = builder.mul(arguments[1], ir.Constant(arguments[1].type, WORD))
        vector = ir.VectorType(ir.IntType(16), WORD)
        place = cgutils.pointer_add(
            builder, array.data, builder.mul(first, ir.Constant(first.type, 2))
        )
        seen = builder.load(builder.bitcast(place, vector.as_pointer()), align=2)
        lanes = ir.Constant(ir.VectorType(ir.IntType(32), WORD), [0] * WORD)
        empty = ir.Constant(vector, ir.Undefined)
        one = builder.insert_element(empty, arguments[2], ir.Constant(ir.IntType(32), 0))
        flags = builder.icmp_signed(order, seen, builder.shuffle_vector(one, empty, lanes))
        return builder.bitcast(flags, ir.IntType(64))

    return types.uint64(levels, types.int64, types.int16), generate


@intrinsic
def above(typingctx, levels, word, bound):
    """Bits: which of the 64 levels of `word` are above `bound`; levels (64 * words,) int16."""
    return _compared(">", levels, bound)


@intrinsic
def below(typingctx, levels, word, bound):
    """Bits: which of the 64 levels of `word` are below `bound`; levels (64 * words,) int16."""
    return _compared("<", levels, bound)


@compiled
def next_bit(words, place):
    """The first set bit at or after `place`, or the number of bits when there is none."""
    count = len(words)
    at = place >> 6
    if at >= count:
        return count * WORD
    word = words[at] & (ALL << np.uint64(place & 63))
    while word == NONE:
        at += 1
        if at == count:
            return count * WORD
        word = words[at]
    return (at << 6) + trailing_zeros(word)


@compiled
def turns(starts, ends, places):
    """Write to `places` where holding begins and ends in turn; returns how many there are.

    Holding begins at a bit of `starts` and lasts to the next bit of `ends`; no bit is in both. A carry
    does the same: it begins where both summands have a bit and runs on through every place where one has.
    """
    count, held = 0, NONE
    for w in range(len(starts)):
        on, go = starts[w], ~ends[w]
        before = on ^ go ^ (on + go + held)  # the carries into each place: held until then
        change = before ^ (on | (go & before))
        held = (on | (go & before)) >> TOP
        while change != NONE:
            places[count] = (w << 6) + trailing_zeros(change)
            count += 1
            change &= change - ONE
    return count


@compiled
def is_set(words, place):
    """Whether the bit at `place` is set."""
    return (words[place >> 6] >> np.uint64(place & 63)) & ONE == ONE


@compiled
def pack(flags, words):
    """Fill `words` (m,) uint64 from `flags` (64 * m,) of bool."""
    for w in range(len(words)):
        word = NONE
        for b in range(WORD):
            word |= np.uint64(flags[w * WORD + b]) << np.uint64(b)
        words[w] = word
