"""Float32 inference time of Nibble's runtime beside ONNX Runtime's, same threads, runs interleaved.

usage: fp32_inference.py [--runs N] [--threads N] [CASE...]
"""
import argparse
import pathlib
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MODELS = ROOT / "testdata/models"
PROGRAM = ROOT / "build/release/bin/bench-fp32"
random = np.random.default_rng(3)


def normal(*shape):
    return random.normal(size=shape).astype(np.float32)


def genai(length, past):
    cache = {f"past_key_values.{layer}.{kind}": normal(1, 4, past, 32)
             for layer in range(5) for kind in ("key", "value")}
    return {"input_ids": random.integers(0, 4096, (1, length)), "attention_mask": np.ones((1, past + length), np.int64),
            **cache}


CASES = {
    "unet": ("emoji-diffusion/unet", {"batch_size": 2},
             {"sample": normal(2, 4, 16, 16), "timestep": np.array([300], np.int64),
              "encoder_hidden_states": normal(2, 24, 128)}),
    "decoder": ("debian-llama/decoder", {"sequence_length": 256}, {"input_ids": random.integers(0, 4096, (1, 256))}),
    "genai-step": ("debian-llama/decoder-genai",
                   {"batch_size": 1, "sequence_length": 1, "past_sequence_length": 255, "total_sequence_length": 256,
                    "kv_cache_dim": 32}, genai(1, 255)),
    "vae_decoder": ("emoji-diffusion/vae_decoder", {"batch_size": 1}, {"latent_sample": normal(1, 4, 16, 16)}),
    "vae_encoder": ("emoji-diffusion/vae_encoder", {"batch_size": 1}, {"sample": normal(1, 3, 64, 64)}),
    "text_encoder": ("emoji-diffusion/text_encoder", {"batch_size": 1},
                     {"input_ids": random.integers(0, 1024, (1, 24)).astype(np.int32)}),
}


def take_types(model, inputs):
    """The model's inputs, of the types that it declares."""
    graph = onnx.load(model, load_external_data=False).graph
    return {info.name: inputs[info.name].astype(onnx.helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
            for info in graph.input}


def measure(name, runs, threads):
    """Median seconds of Nibble and of ONNX Runtime."""
    folder, bindings, inputs = CASES[name]
    model = MODELS / folder / "model.onnx"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that go on spinning after a run would take the processors from the other program.
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = onnxruntime.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
    inputs = take_types(model, inputs)
    ours, theirs = [], []
    with tempfile.TemporaryDirectory() as work:
        path = pathlib.Path(work) / "inputs.npz"
        np.savez(path, **inputs)
        command = [PROGRAM, model, path, str(threads), *(f"{k}={v}" for k, v in bindings.items())]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as child:
            assert child.stdout.readline() == "ready\n"
            for run in range(runs + 3):
                child.stdin.write("run\n")
                seconds = float(child.stdout.readline())
                start = time.perf_counter()
                session.run(None, inputs)
                elapsed = time.perf_counter() - start
                if run >= 3:
                    ours.append(seconds)
                    theirs.append(elapsed)
            child.stdin.close()
    return statistics.median(ours), statistics.median(theirs), min(ours), min(theirs)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=31)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("cases", nargs="*", default=list(CASES))
    arguments = parser.parse_args()
    print("| model | Nibble ms | ONNX Runtime ms | ratio | fastest runs: ratio |\n|---|---|---|---|---|")
    for name in arguments.cases:
        ours, theirs, oursMin, theirsMin = measure(name, arguments.runs, arguments.threads)
        print(f"| {name} | {ours * 1e3:.2f} | {theirs * 1e3:.2f} | {ours / theirs:.2f} | {oursMin / theirsMin:.2f} |",
              flush=True)


if __name__ == "__main__":
    main()
