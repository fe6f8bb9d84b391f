"""onnx-neural-compressor on the models and data of testdata: the figures that Nibble is compared with.

usage: rivals_inc.py [--case NAME]... [--config NAME]... [--json FILE]

Intel's last package that quantizes ONNX files (neural-compressor 3 does not), 'rivals_setup.py inc' installs it.
It leaves some operators in float; weight-only configurations write MatMulNBits with asymmetric groups of the size named.
"""
import sys

import rivals_shared

CONFIGS = {"w8a8-static": None, "w8a8-smoothquant": None,
           **{f"{name}-g{group}": (name, group) for group in (32, 128) for name in ("rtn", "gptq", "awq")}}


def reader(case):
    from onnx_neural_compressor import data_reader

    class Reader(data_reader.CalibrationDataReader):
        def __init__(self):
            self.rewind()

        def get_next(self):
            return next(self.feeds, None)

        def rewind(self):
            self.feeds = iter(case.feeds(case.calibration))

    return Reader()


def quantizeWeights(case, config, source, target):
    import onnx
    from onnx_neural_compressor.quantization import matmul_nbits_quantizer as nbits
    algorithm, group = CONFIGS[config]
    algorithms = {"rtn": nbits.RTNWeightOnlyQuantConfig,
                  "gptq": lambda: nbits.GPTQWeightOnlyQuantConfig(reader(case)),
                  "awq": lambda: nbits.AWQWeightOnlyQuantConfig(reader(case))}
    quantizer = nbits.MatMulNBitsQuantizer(onnx.load(source), block_size=group, is_symmetric=False,
                                           algo_config=algorithms[algorithm]())
    quantizer.process()
    onnx.save(getattr(quantizer.model, "model", quantizer.model), target)


def quantize(case, config, source, target):
    if rivals_shared.isWeightOnly(config):
        quantizeWeights(case, config, source, target)
        return
    from onnx_neural_compressor.quantization import QuantFormat, QuantType, config as settings
    from onnx_neural_compressor.quantization import quantize as quantizeFile
    kinds = dict(activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8, quant_format=QuantFormat.QDQ,
                 per_channel=True)
    if config == "w8a8-smoothquant":
        chosen = settings.SmoothQuantConfig(alpha=0.5, calibration_data_reader=reader(case), **kinds)
    else:
        chosen = settings.StaticQuantConfig(reader(case), **kinds)
    quantizeFile(source, target, chosen)
    mendAxes(target)


def mendAxes(path):
    """Per-channel biases are written with the weight's axis, which a vector does not have: no runtime takes the file."""
    import onnx
    model = onnx.load(path)
    vectors = {tensor.name for tensor in model.graph.initializer if len(tensor.dims) == 1}
    for node in model.graph.node:
        if node.op_type == "DequantizeLinear" and node.input[0] in vectors:
            for attribute in node.attribute:
                if attribute.name == "axis":
                    attribute.i = 0
    onnx.save(model, path)


if __name__ == "__main__":
    rivals_shared.main("inc", sys.modules[__name__], __file__)
