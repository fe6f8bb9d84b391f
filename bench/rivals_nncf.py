"""NNCF's quantizers on the models and data of testdata: the figures that Nibble is compared with.

usage: rivals_nncf.py [--case NAME]... [--config NAME]... [--json FILE]

'rivals_setup.py nncf' installs it. Post-training quantization leaves some operators in float. Weight compression of a
language model includes the embedding and the output layer, in 8 bits, as ours does.
"""
import sys

import rivals_shared

CONFIGS = {"w8a8-ptq": {}, "w8a8-transformer": {"model_type": "transformer"},
           **{f"{mode}-g{group}": (mode, group) for group in (32, 128) for mode in ("int4-sym", "int4-asym")}}


def quantize(case, config, source, target):
    import nncf
    import onnx
    model = onnx.load(source)
    if rivals_shared.isWeightOnly(config):
        mode, group = CONFIGS[config]
        model = onnx.version_converter.convert_version(model, 21)
        modes = {"int4-sym": nncf.CompressWeightsMode.INT4_SYM, "int4-asym": nncf.CompressWeightsMode.INT4_ASYM}
        quantized = nncf.compress_weights(
            model, mode=modes[mode], group_size=group, ratio=1.0,
            advanced_parameters=nncf.AdvancedCompressionParameters(group_size_fallback_mode=nncf.GroupSizeFallbackMode.ADJUST))
    else:
        options = dict(CONFIGS[config])
        if "model_type" in options:
            options["model_type"] = nncf.ModelType.TRANSFORMER
        feeds = list(case.feeds(case.calibration))
        quantized = nncf.quantize(model, nncf.Dataset(feeds), subset_size=len(feeds), **options)
    onnx.save(quantized, target)


if __name__ == "__main__":
    rivals_shared.main("nncf", sys.modules[__name__], __file__)
