"""AIMET on the models and data of testdata: the figures that Nibble is compared with.

usage: rivals_aimet.py [--case NAME]... [--config NAME]... [--json FILE]

aimet-onnx has packages for Python 3.10 only ('rivals_setup.py aimet' installs it where there is one); elsewhere every row
says that it was skipped. Quantizers are placed as for the Hexagon NPU (htp_v81); files are the QDQ export with constants
quantized. Weight-only configurations are low power blockwise quantization in groups, with float activations.
"""
import sys

import rivals_shared

CONFIGS = {"w8a8-minmax": (8, 8, ""), "w8a16-minmax": (8, 16, ""), "w4a16-minmax": (4, 16, ""),
           "w4a8-minmax": (4, 8, ""), "w4a16-seqmse": (4, 16, "seqmse"), "w4a8-seqmse": (4, 8, "seqmse"),
           "lpbq-g32": (4, 0, "lpbq"), "lpbq-g128": (4, 0, "lpbq"), "blockwise-g32": (4, 0, "blockwise"),
           "blockwise-g128": (4, 0, "blockwise")}
PRODUCTS = ("MatMul", "Gemm", "Conv")


def keepFloat(simulation):
    """Leaves only weights of matrix products quantized."""
    for name in simulation.activation_names:
        simulation.qc_quantize_op_dict[name].enabled = False
    weights = {name.replace("_qdq", "").replace("_updated", "") for node in simulation.model.nodes()
               if node.op_type in PRODUCTS for name in node.input}
    for name in simulation.param_names:
        if name not in weights:
            simulation.qc_quantize_op_dict[name].enabled = False


def quantize(case, config, source, target):
    import aimet_onnx
    import onnx
    from aimet_onnx import quantsim
    from aimet_onnx.common.defs import QuantScheme
    weightBits, activationBits, method = CONFIGS[config]
    samples = list(case.feeds(case.calibration))
    simulation = aimet_onnx.QuantizationSimModel(
        onnx.load(source), param_type=f"int{weightBits}", activation_type=f"int{activationBits or 16}",
        quant_scheme=QuantScheme.min_max, config_file="htp_v81", providers=["CPUExecutionProvider"],
        dummy_input=samples[0])
    if method in ("lpbq", "blockwise"):
        group = int(config.split("-g")[1])
        if method == "lpbq":
            quantsim.set_grouped_blockwise_quantization_for_weights(simulation, PRODUCTS, 4, 8, group, strict=False)
        else:
            quantsim.set_blockwise_quantization_for_weights(simulation, PRODUCTS, 4, True, group, strict=False)
        keepFloat(simulation)
    if method == "seqmse":
        aimet_onnx.apply_seq_mse(simulation, samples)
    simulation.compute_encodings(samples)
    onnx.save(simulation.to_onnx_qdq(prequantize_constants=True), target)


if __name__ == "__main__":
    rivals_shared.main("aimet", sys.modules[__name__], __file__)
