"""What a compile writes, run and read by others: `nibble run`, and encodings of every kind of weight."""
import json
import re
import unittest

import numpy as np
import support

DECODER = [str(support.LLAMA / "decoder-genai/model.onnx"), "--bind", "batch_size=1", "--bind", "sequence_length=16",
           "--bind", "total_sequence_length=16", "--bind", "past_sequence_length=0", "--bind", "kv_cache_dim=32"]


class Outputs(support.Test):
    def compile(self, name, *arguments, code=0):
        output = self.folder / name
        return output, self.run_("compile", *arguments, "--progress", "plain", "-o", output, code=code)

    def tokens(self, rows=2):
        """Token rows for models that are bound to 16 tokens."""
        path = self.folder / "tokens.npy"
        np.save(path, np.load(support.LLAMA / "calib_tokens.npy")[:rows, :16])
        return path

    def runOn(self, arithmetic, model, sample):
        output = self.folder / f"{arithmetic}.npz"
        self.run_("run", model, "--on", arithmetic, "--input", sample, "-o", output)
        return dict(np.load(output))

    def testFloatRuntimeRunsWhatWasGivenAndWhatWasWritten(self):
        sample = support.EMOJI / "eval/vae_decoder/000.npz"
        output, _ = self.compile("w8a16", *support.SMALL, "--recipe", "w8a16", "--no-report", "--emit", "qdq")
        # The batch of the float model is symbolic; the sample says what it is.
        for model, bound in ((support.SMALL[0], 1e-4), (support.quantizedModel(output), 1e-3)):
            ours, theirs = self.runOn("fp32", model, sample), self.runOn("onnxruntime", model, sample)
            self.assertEqual(list(ours), list(theirs))
            for name, values in theirs.items():
                self.assertLessEqual(np.abs(ours[name] - values).max(), bound * np.ptp(values), model)

    def testRunRefusesWhatItCannotDo(self):
        sample = support.EMOJI / "eval/vae_encoder/000.npz"
        self.refused(2, "no array 'latent_sample'", "run", support.SMALL[0], "--on", "fp32", "--input", sample)
        self.refused(1, "--raw-io has no effect", "run", support.SMALL[0], "--on", "fp32", "--raw-io", "--input", sample)
        model = support.EMOJI / "unet/model.onnx"
        path = self.folder / "two.npz"
        np.savez(path, sample=np.zeros((2, 4, 16, 16), np.float32), timestep=np.ones(1, np.float32),
                 encoder_hidden_states=np.zeros((1, 24, 128), np.float32))
        self.refused(2, "'batch_size' is 1 where another input has 2", "run", model, "--on", "fp32", "--input", path)
        np.savez(path, sample=np.zeros((2, 4, 16), np.float32), timestep=np.ones(1, np.float32),
                 encoder_hidden_states=np.zeros((2, 24, 128), np.float32))
        self.refused(2, r"wanted float32 \[batch_size, 4, 16, 16\], found float32 \[2, 4, 16\]", "run", model, "--on",
                     "fp32", "--input", path)

    def testEncodingsThatOneVersionCannotStateAreLeftOutAndSaid(self):
        """Groups of a convolution's inputs have a scale for each place of the window, which only 2.0.0 can state."""
        output, process = self.compile("groups", *support.SMALL[:3], "--recipe", "w4-g32", "--no-report")
        for version in ("0.6.1", "1.0.0"):
            self.assertRegex(process.stderr, rf"encodings {re.escape(version)} are not written: tensor '.*'")
            self.assertFalse((output / f"model_encodings_{version}.json").exists())
        entries = json.loads((output / "model_encodings_2.0.0.json").read_text())["encodings"]
        self.assertTrue(any("block_size" in entry for entry in entries))

    def testEmptyCacheNeedsNoEncoding(self):
        output, _ = self.compile("empty", *DECODER, "--recipe", "w8a16", "--calib", self.tokens())
        coverage = json.loads((output / "report.json").read_text())["coverage"]
        self.assertEqual(coverage["integer_activation_bytes"], coverage["activation_bytes"], coverage)


if __name__ == "__main__":
    unittest.main()
