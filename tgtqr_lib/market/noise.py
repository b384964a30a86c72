"""Random numbers that need no state and are the same on every machine.

Only integer arithmetic, IEEE + - * / and square roots are used: libm's exp and log differ between machines
in the last bit, and numpy does not promise that its generators' floats stay the same.
"""

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_16_BITS = np.uint64(0xFFFF)


def words(key: int, first: int, count: int) -> np.ndarray:
    """Words first .. first+count-1 of the endless stream named `key`: (count,) uint64.

    SplitMix64 (Steele, Lea, Flood 2014), whose n-th word can be had without those before it.
    """
    state = np.arange(first + 1, first + 1 + count, dtype=np.uint64) * _GOLDEN + np.uint64(key)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


def normals(raw: np.ndarray) -> np.ndarray:
    """A nearly normal number for each word, mean 0 and variance 1, within 3.47.

    The sum of a word's four 16-bit pieces; its mean is 4 x 65535/2, its variance 4 x (65536**2 - 1)/12.
    """
    total = (raw & _16_BITS) + (raw >> np.uint64(16) & _16_BITS)
    total += (raw >> np.uint64(32) & _16_BITS) + (raw >> np.uint64(48))
    return (total.astype(np.float64) - 131_070.0) / np.sqrt((2.0**32 - 1) / 3)


def exp(x: np.ndarray | float) -> np.ndarray | float:
    """e**x for |x| < 5 within 1e-12 of its value: a short series for x/256, squared eight times."""
    y = x / 256.0
    power = 1 + y * (1 + y * (1 / 2 + y * (1 / 6 + y * (1 / 24 + y * (1 / 120 + y / 720)))))
    for _ in range(8):
        power = power * power
    return power
