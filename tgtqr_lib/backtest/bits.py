"""Sets of quarter hours as bits, 64 a word: packing them, and finding the next one."""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from tgtqr_lib.backtest.money import compiled

WORD = 64
ONE, NONE, ALL = np.uint64(1), np.uint64(0), np.uint64(2**64 - 1)


@intrinsic
def trailing_zeros(typingctx, word):
    """How many zero bits follow the lowest set bit of a uint64 that has one."""

    def generate(context, builder, signature, arguments):
        zeros = builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.bitcast(zeros, ir.IntType(64))

    return types.int64(types.uint64), generate


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
