"""Programs whose operations Nibble's integer runtime computes together: chains over tiles, maxima by halves, products with
what follows them, and products of the largest operands. The reference model computes the same from each."""
import pathlib
import subprocess
import tempfile
import unittest

import numpy as np

from operators import BIN, MODES, NUMPY, Graph, array, modelOutputs, runtimeOutputs

RESCALE = ("scale32 = {wide}, rounding_mode = #tosa.rounding_mode<{rounding}>, per_channel = {channels}, "
           "input_unsigned = false, output_unsigned = false")
LIMITS = {"i8": 2**7, "i16": 2**15, "i32": 2**31, "i48": 2**47}


class Program(Graph):
    """Values are (name, type) pairs with their shape, element and largest magnitude beside them."""

    def __init__(self, seed):
        super().__init__()
        self.random, self.arrays, self.facts = np.random.default_rng(seed), [], {}

    def note(self, value, element, shape, bound):
        assert bound <= LIMITS.get(element, bound), (element, bound)
        self.facts[value[0]] = (element, tuple(shape), int(bound))
        return value

    def element(self, value):
        return self.facts[value[0]][0]

    def shapeOf(self, value):
        return self.facts[value[0]][1]

    def bound(self, value):
        return self.facts[value[0]][2]

    def given(self, element, *shape, values=None):
        if values is None:
            values = self.random.integers(-LIMITS[element], LIMITS[element], shape)
            # Ends of the range, which random numbers rarely meet.
            values.flat[0], values.flat[-1] = -LIMITS[element], LIMITS[element] - 1
        self.arrays.append(np.asarray(values).astype(NUMPY[element]))
        return self.note(self.input(element, *shape), element, shape, LIMITS[element])

    def constant(self, element, values):
        values = np.asarray(values)
        return self.note(self.const(element, values), element, values.shape, max(1, np.abs(values.astype(np.int64)).max()))

    def binary(self, name, x, y, bound, properties="", extra=()):
        shape = np.broadcast_shapes(self.shapeOf(x), self.shapeOf(y))
        return self.note(self.op(name, [x, y, *extra], self.element(x), shape, properties), self.element(x), shape, bound)

    def add(self, x, y):
        return self.binary("add", x, y, self.bound(x) + self.bound(y))

    def sub(self, x, y):
        return self.binary("sub", x, y, self.bound(x) + self.bound(y))

    def maximum(self, x, y):
        return self.binary("maximum", x, y, max(self.bound(x), self.bound(y)))

    def minimum(self, x, y):
        return self.binary("minimum", x, y, max(self.bound(x), self.bound(y)))

    def mul(self, x, y, shift):
        return self.binary("mul", x, y, (self.bound(x) * self.bound(y) >> shift) + 1, extra=[self.const("i8", [shift])])

    def shiftRight(self, x, bits, isRounded):
        amount = self.constant("i32", np.full([1] * len(self.shapeOf(x)), bits))
        return self.binary("arithmetic_right_shift", x, amount, (self.bound(x) >> bits) + 1, f"round = {str(isRounded).lower()}")

    def rescale(self, x, factor, element, outputZero=0, inputZero=0, rounding="SINGLE_ROUND"):
        """`factor` may be one per index of the last axis."""
        isWide, factors = self.element(x) == "i48", np.atleast_1d(factor)
        exponents = np.ceil(np.log2(factors)).astype(int)
        bits = 15 if isWide else 31
        multipliers = np.minimum(np.rint(factors / 2.0**exponents * 2**bits), 2**bits - 1).astype(np.int64)
        shifts = bits - exponents
        multiplierType = "i16" if isWide else "i32"
        value = self.op("rescale", [x, self.const(multiplierType, multipliers), self.const("i8", shifts),
                                    self.const(self.element(x), [inputZero]), self.const(element, [outputZero])], element,
                        self.shapeOf(x), RESCALE.format(wide=str(not isWide).lower(), rounding=rounding,
                                                        channels=str(len(factors) > 1).lower()))
        reach = int((self.bound(x) + abs(inputZero)) * factors.max()) + 2 + abs(outputZero)
        return self.note(value, element, self.shapeOf(x), min(LIMITS[element], reach))

    def widen(self, x, zero=0):
        return self.rescale(x, 1.0, "i32", inputZero=zero)

    def table(self, x):
        if self.element(x) == "i8":
            entries, element = self.random.integers(-128, 128, 256), "i8"
        else:
            entries, element = np.cumsum(self.random.integers(-120, 121, 513)).clip(-32000, 32000), "i32"
        return self.note(self.op("table", [x, self.const(self.element(x), entries)], element, self.shapeOf(x)), element,
                         self.shapeOf(x), 128 if element == "i8" else 32001 * 128)

    def slice(self, x, axis, start, size):
        shape = list(self.shapeOf(x))
        starts = [start if i == axis else 0 for i in range(len(shape))]
        shape[axis] = size
        return self.note(self.op("slice", [x, self.shape(*starts), self.shape(*shape)], self.element(x), shape),
                         self.element(x), shape, self.bound(x))

    def reshape(self, x, *shape):
        return self.note(self.op("reshape", [x, self.shape(*shape)], self.element(x), shape), self.element(x), shape, self.bound(x))

    def transpose(self, x, *order):
        shape = [self.shapeOf(x)[i] for i in order]
        return self.note(self.op("transpose", [x], self.element(x), shape, f"perms = array<i32: {', '.join(map(str, order))}>"),
                         self.element(x), shape, self.bound(x))

    def largest(self, x, axis):
        """The maximum by halves, as the lowering writes it."""
        while (size := self.shapeOf(x)[axis]) > 1:
            half = size // 2
            halves = self.maximum(self.slice(x, axis, 0, half), self.slice(x, axis, half, half))
            if size % 2:
                rest = self.slice(x, axis, size - 1, 1)
                first = self.maximum(self.slice(halves, axis, 0, 1), rest)
                if half == 1:
                    return first
                shape = list(self.shapeOf(halves))
                halves = self.note(self.op("concat", [first, self.slice(halves, axis, 1, half - 1)], self.element(x), shape,
                                           f"axis = {axis} : i32"), self.element(x), shape, self.bound(x))
            x = halves
        return x

    def reduceSum(self, x, axis):
        shape = list(self.shapeOf(x))
        count, shape[axis] = shape[axis], 1
        return self.note(self.op("reduce_sum", [x], "i32", shape, f"axis = {axis} : i32"), "i32", shape, self.bound(x) * count)

    def convolution(self, x, weight, channels, window=(1, 1), stride=(1, 1), pad=(0, 0, 0, 0), dilation=(1, 1), zero=0, weights=None):
        batch, height, width, inputs = self.shapeOf(x)
        element = self.element(x)
        accumulator = {"i8": "i32", "i16": "i48"}[element]
        low, high = {"i4": (-7, 8), "i8": (-128, 128)}[weight]
        if weights is None:
            weights = self.random.integers(low, high, (channels, *window, inputs))
        rows = (height - 1 + pad[0] + pad[1] - (window[0] - 1) * dilation[0]) // stride[0] + 1
        columns = (width - 1 + pad[2] + pad[3] - (window[1] - 1) * dilation[1]) // stride[1] + 1
        shape = (batch, rows, columns, channels)
        bound = (LIMITS[element] + abs(zero)) * np.abs(weights.astype(np.int64)).sum(axis=(1, 2, 3)).max() + 5000
        operands = [x, self.const(weight, weights), self.const(accumulator, self.random.integers(-5000, 5000, channels)),
                    self.const(element, [zero]), self.const(weight, [0])]
        return self.note(self.op("conv2d", operands, accumulator, shape,
                                 f"acc_type = {accumulator}, pad = {array(*pad)}, stride = {array(*stride)}, "
                                 f"dilation = {array(*dilation)}"), accumulator, shape, bound)

    def matmul(self, x, y, zeros=(0, 0)):
        element, accumulator = self.element(x), {"i8": "i32", "i16": "i48"}[self.element(x)]
        batch, rows, inner = self.shapeOf(x)
        shape = (batch, rows, self.shapeOf(y)[2])
        operands = [x, y, self.const(element, [zeros[0]]), self.const(element, [zeros[1]])]
        bound = inner * (LIMITS[element] + abs(zeros[0])) * (LIMITS[element] + abs(zeros[1]))
        return self.note(self.op("matmul", operands, accumulator, shape), accumulator, shape, bound)

    def toByte(self, accumulator):
        return self.rescale(accumulator, 110 / self.bound(accumulator), "i8", outputZero=3)


def randomChain(p, start, length):
    """Elementwise operations on i32, by which every value stays within 2^30."""
    values = [start]
    shape = p.shapeOf(start)
    for _ in range(length):
        x = values[p.random.integers(len(values))]
        kind = p.random.integers(12)
        broadcast = [size if p.random.integers(2) else 1 for size in shape]
        other = p.constant("i32", p.random.integers(-3000, 3000, broadcast))
        if kind == 0:
            x = p.add(p.shiftRight(x, 2, True), other)
        elif kind == 1:
            x = p.sub(p.shiftRight(x, 1, False), p.shiftRight(values[p.random.integers(len(values))], 2, True))
        elif kind == 2:
            y = values[p.random.integers(len(values))]
            shift = max(0, int(np.ceil(np.log2(p.bound(x) * p.bound(y)))) - 29)
            x = p.mul(x, y, min(shift, 63))
        elif kind == 3:
            x = p.rescale(x, 2.0 ** -int(p.random.integers(0, 4)), "i32")
        elif kind == 4:
            x = p.widen(p.rescale(x, 120 / p.bound(x), "i8", outputZero=-7), zero=-7)
        elif kind == 5:
            x = p.shiftRight(p.table(p.rescale(x, 32000 / p.bound(x), "i16")), 3, True)
        elif kind == 6:
            x = p.widen(p.table(p.rescale(x, 120 / p.bound(x), "i8")))
        elif kind == 7:
            x = p.maximum(x, other) if p.random.integers(2) else p.minimum(x, other)
        elif kind == 8:
            axis = int(p.random.integers(len(shape)))
            count = shape[axis]
            x = p.sub(p.shiftRight(x, 1, True), p.reduceSum(p.shiftRight(x, int(np.ceil(np.log2(count))) + 1, True), axis))
        elif kind == 9:
            x = p.rescale(x, p.random.uniform(0.05, 0.5, shape[-1]), "i32")
        elif kind == 10:
            axis = int(p.random.integers(len(shape)))
            x = p.sub(p.shiftRight(x, 1, True), p.shiftRight(p.largest(x, axis), 1, True))
        else:
            # Through another shape and back.
            x = p.reshape(p.reshape(x, int(np.prod(shape))), *shape)
        if p.bound(x) > 2**30:
            x = p.shiftRight(x, 3, True)
        values.append(x)
    return values


class Programs(unittest.TestCase):
    def check(self, p, threads=(1, 2, 3), instructions=()):
        """`instructions` are sets to which oneDNN is limited, as it would be on older CPUs."""
        with tempfile.TemporaryDirectory() as folder:
            folder = pathlib.Path(folder)
            (folder / "m.mlir").write_text(p.text())
            subprocess.run([BIN / "write-tosa", folder / "m.mlir", folder / "m.tosa"], check=True)
            wanted = modelOutputs(folder / "m.tosa", p.arrays, len(p.outputs))
        runs = [(mode, 2, {}) for mode in MODES] + [("plain", count, {}) for count in threads if count != 2]
        runs += [("plain", 2, {"ONEDNN_MAX_CPU_ISA": name}) for name in instructions]
        for mode, count, environment in runs:
            found = runtimeOutputs(p, p.arrays, mode, count, **environment)
            for i, (a, b) in enumerate(zip(found, wanted)):
                np.testing.assert_array_equal(a.astype(np.int64), b.astype(np.int64),
                                              err_msg=f"{mode}, {count} threads, {environment}, output {i}: {p.outputs[i]}\n{p.text()[:20000]}")

    def testChains(self):
        shapes = [(3, 5, 7), (1, 33, 64), (2, 4, 8, 16), (130, 9), (1, 1, 257), (4, 1, 6, 5)]
        for seed in range(30):
            with self.subTest(seed=seed):
                p = Program(seed)
                shape = shapes[seed % len(shapes)]
                values = randomChain(p, p.widen(p.given(("i8", "i16")[seed // 6 % 2], *shape)), 14)
                p.output(values[-1])
                p.output(p.rescale(values[-2], 100 / p.bound(values[-2]), "i8"))
                p.output(p.rescale(values[len(values) // 2], 30000 / p.bound(values[len(values) // 2]), "i16"))
                self.check(p)

    def testConvolutionsAndWhatFollows(self):
        cases = [  # shape, channels, window, stride, pad, dilation
            ((1, 9, 7, 3), 5, (3, 3), (1, 1), (1, 1, 1, 1), (1, 1)),
            ((2, 8, 8, 16), 33, (3, 3), (2, 2), (1, 0, 1, 0), (1, 1)),
            ((1, 17, 5, 8), 16, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
            ((1, 6, 6, 64), 130, (1, 1), (1, 1), (0, 0, 0, 0), (1, 1)),
            ((1, 12, 12, 1), 4, (5, 2), (3, 1), (2, 0, 0, 1), (1, 2)),
            ((1, 1, 40, 7), 9, (1, 4), (1, 2), (0, 0, 3, 1), (1, 1))]
        for seed, (shape, channels, window, stride, pad, dilation) in enumerate(cases):
            for element, weight in (("i8", "i8"), ("i8", "i4"), ("i16", "i8")):
                with self.subTest(shape=shape, element=element, weight=weight):
                    p = Program(100 + seed)
                    x = p.given(element, *shape)
                    sum = p.convolution(x, weight, channels, window, stride, pad, dilation, zero=-11 if element == "i8" else 0)
                    factors = p.random.uniform(0.2, 1.0, channels) * 2**20 / p.bound(sum)
                    values = randomChain(p, p.rescale(sum, factors, "i32"), 5)
                    p.output(p.rescale(values[-1], 120 / p.bound(values[-1]), "i8", outputZero=5))
                    p.output(p.rescale(sum, 30000 / p.bound(sum), "i16"))
                    self.check(p)

    def testProductsOfActivations(self):
        for seed, (batch, rows, inner, columns) in enumerate([(1, 1, 1, 1), (3, 17, 33, 5), (2, 64, 32, 70), (4, 5, 257, 16)]):
            for element, zeros in (("i8", (9, -128)), ("i8", (0, 0)), ("i16", (0, 0))):
                with self.subTest(inner=inner, element=element, zeros=zeros):
                    p = Program(200 + seed)
                    y = p.transpose(p.given(element, batch, columns, inner), 0, 2, 1)
                    sum = p.matmul(p.given(element, batch, rows, inner), y, zeros)
                    p.output(p.toByte(sum))
                    p.output(p.rescale(sum, 30000 / p.bound(sum), "i16"))
                    self.check(p)

    def testLargestOperands(self):
        """Pairs of the largest operands over a long sum, by which a saturating kernel would show."""
        inner, older = 8192, ("AVX512_CORE", "AVX2", "SSE41")
        ends = {"i8": (-128, 127), "i16": (-32768, 32767)}
        for element in ends:
            for x in ends[element]:
                for w in (-128, 127):
                    with self.subTest(element=element, x=x, w=w):
                        p = Program(300)
                        given = p.given(element, 1, 3, 1, inner, values=np.full((1, 3, 1, inner), x))
                        # With a zero point the byte is as far from 0 as 255.
                        zero = (127 if x < 0 else -128) if element == "i8" else 0
                        sum = p.convolution(given, "i8", 16, zero=zero, weights=np.full((16, 1, 1, inner), w))
                        p.output(p.rescale(sum, 1 / 16 if element == "i8" else 2.0**-12, "i32"))
                        self.check(p, threads=(2,), instructions=older)
        for element, (low, high) in ends.items():
            for x, y in ((low, low), (low, high), (high, high)):
                p = Program(301)
                shape = (1, 4, inner)
                zeros = (127, -128) if element == "i8" and x < 0 < y else (0, 0)
                sum = p.matmul(p.given(element, *shape, values=np.full(shape, x)),
                               p.given(element, 1, inner, 8, values=np.full((1, inner, 8), y)), zeros)
                p.output(p.rescale(sum, 1 / 16 if element == "i8" else 2.0**-13, "i32"))
                self.check(p, threads=(2,), instructions=older)

    def testMaximaByHalves(self):
        for seed, (shape, axis) in enumerate([((3, 64), 1), ((4, 77, 5), 1), ((2, 3, 33), 2), ((7, 2, 9), 0), ((1, 1024), 1)]):
            with self.subTest(shape=shape, axis=axis):
                p = Program(400 + seed)
                x = p.widen(p.given("i16", *shape))
                top = p.largest(x, axis)
                p.output(top)
                p.output(p.sub(x, top))
                self.check(p)


    def testSumsOfBytesAndOfTheirSquares(self):
        for seed, (shape, axis) in enumerate([((2, 33, 40), 1), ((5, 77), 1), ((3, 64, 1025), 1), ((1, 9), 0), ((4, 7, 130), 2)]):
            for isRead in (False, True):
                with self.subTest(shape=shape, axis=axis, isRead=isRead):
                    p = Program(500 + seed)
                    # The bytes come out of a group, and are read by another one behind the sums.
                    x = p.rescale(p.mul(p.widen(p.given("i8", *shape)), p.constant("i32", np.full([1] * len(shape), 77)), 3), 0.02,
                                  "i8", outputZero=-20)
                    wide = p.widen(x, zero=-20)
                    square = p.mul(wide, wide, 0)
                    sum, squares = p.reduceSum(wide, axis), p.reduceSum(square, axis)
                    p.output(squares)
                    if isRead:
                        p.output(p.shiftRight(square, 2, True))
                    count = shape[axis]
                    mean = p.rescale(sum, 256 / count, "i32")
                    p.output(p.sub(p.mul(wide, p.constant("i32", np.full([1] * len(shape), 256)), 0), mean))
                    p.output(mean)
                    self.check(p)


if __name__ == "__main__":
    unittest.main()
