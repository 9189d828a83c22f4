"""log(1 + x) with the same bytes under every C library, for portable arithmetic.

NumPy asks the C library for the logarithm of a float32, and glibc 2.41 changed its last digit. The method is
FDLIBM's (Sun Microsystems 1993), which older versions of glibc use too. The result equals that of glibc 2.36
for each of the 2,139,095,040 finite values that are not negative.
"""

import numpy as np

from scmobench.compiled import compiled

ZERO, HALF, ONE, TWO = (np.float32(x) for x in (0, 0.5, 1, 2))
ROOT = np.float32(0.41421387)  # sqrt(2) - 1, rounded up; for a smaller x, k is 0
MANTISSA, OF_ROOT = 0x7FFFFF, 0x3504F7  # bits of a float32 that hold the mantissa; the mantissa of sqrt(2)
LN2, LN2_REST = np.float32(6.9313812256e-01), np.float32(9.0580006145e-06)
SERIES = np.float32(
    [0.66666668653, 0.40000000596, 0.28571429849, 0.22222198546, 0.18183572590, 0.15313838422, 0.14798198640]
)


@compiled("void(float32[::1])")
def log1p(values: np.ndarray) -> None:
    """Replace each value x by log(1 + x). No value may be negative.

    1 + x = 2^k (1 + f), and log(1 + f) = f - f^2/2 + s (f^2/2 + R(s^2)) with s = f / (2 + f).
    """
    for i in range(values.size):
        x = f = values[i]
        k = lost = ZERO
        if x >= ROOT:
            whole = ONE + x
            word = np.float32(whole).view(np.int32)
            exponent, upper = (word >> 23) - 127, (word & MANTISSA) >= OF_ROOT
            f = np.int32((word & MANTISSA) | ((126 if upper else 127) << 23)).view(np.float32) - ONE
            k = np.float32(exponent + upper)
            if k > ZERO:  # what rounding took from 1 + x
                lost = (ONE - (whole - x) if exponent > 0 else x - (whole - ONE)) / whole
        half = HALF * f * f
        s = f / (TWO + f)
        z = s * s
        rest = SERIES[6]
        for j in range(5, -1, -1):
            rest = SERIES[j] + z * rest
        values[i] = k * LN2 - ((half - (s * (half + z * rest) + (k * LN2_REST + lost))) - f)
