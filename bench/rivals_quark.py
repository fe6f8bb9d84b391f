"""AMD Quark on the models and data of testdata: the figures that Nibble is compared with.

usage: rivals_quark.py [--case NAME]... [--config NAME]... [--json FILE]

'rivals_setup.py quark' installs it. It compiles operators of its own at first use, which takes minutes; the first row's
seconds hold that. Static configurations are those that the package names A8W8, A16W8 and A8W8 with bias correction.
"""
import copy
import sys

import rivals_shared

CONFIGS = {"w8a8-preset": ("A8W8", {}), "w8a8-bias-correction": ("A8W8", {"BiasCorrection": True}),
           "w8a16-preset": ("A16W8", {}),
           **{f"{name}-g{group}": (name, group) for group in (32, 128) for name in ("rtn-sym", "rtn-asym", "hqq", "gptq")}}


def reader(case):
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):
        def __init__(self):
            self.rewind()

        def get_next(self):
            return next(self.feeds, None)

        def rewind(self):
            self.feeds = iter(case.feeds(case.calibration))

        reset_iter = rewind

    return Reader()


def weightOnly(config, presets):
    algorithm, group = CONFIGS[config]
    chosen = copy.deepcopy(presets.MATMUL_NBITS_CONFIG)
    options = chosen.extra_options
    options["MatMulNBitsParams"].update(GroupSize=group, Symmetric=algorithm == "rtn-sym", AccuracyLevel=0)
    if algorithm in ("hqq", "gptq"):
        options["MatMulNBitsParams"]["Algorithm"] = algorithm.upper()
        options[f"{algorithm.upper()}Params"] = {"BlockSize": group}
    return chosen


def quantize(case, config, source, target):
    from quark.onnx import ModelQuantizer
    from quark.onnx.quantization.config import custom_config as presets
    from quark.onnx.quantization.config.config import Config
    if rivals_shared.isWeightOnly(config):
        chosen = weightOnly(config, presets)
    else:
        preset, options = CONFIGS[config]
        chosen = copy.deepcopy(presets.DefaultConfigMapping[preset])
        chosen.extra_options.update(options)
    ModelQuantizer(Config(global_quant_config=chosen)).quantize_model(source, target, reader(case))


if __name__ == "__main__":
    rivals_shared.main("quark", sys.modules[__name__], __file__)
