"""Whole text-to-image pipelines: the float reference is reproduced, and quantized files are measured against it."""
import json
import unittest

import numpy as np
import support

REFERENCE = support.EMOJI / "eval/fp32.npz"
INPUTS = [support.EMOJI, "--prompts", support.EMOJI / "eval/prompt_ids.npy",
          "--unconditional", support.EMOJI / "uncond_ids.npy", "--noise", REFERENCE]


class Sample(support.Test):
    def sample(self, *arguments, code=0):
        return self.run_("sample", *INPUTS, *arguments, code=code)

    def figures(self, *arguments):
        return json.loads(self.sample("--json", *arguments).stdout)

    def quantize(self, component, recipe, batch=1):
        output = self.folder / f"{component}-{recipe}"
        self.run_("compile", support.EMOJI / component / "model.onnx", "--bind", f"batch_size={batch}", "--recipe", recipe,
                  "--no-report", "--emit", "qdq", "--progress", "none", "-o", output)
        return support.quantizedModel(output)

    def testFloatModelsGiveTheReference(self):
        for engine in ["fp32"] + ["onnxruntime"] * support.haveVendor():
            output = self.folder / f"{engine}.npz"
            figures = self.figures("--reference", REFERENCE, "--count", "2", "--on", engine, "-o", output)
            wanted, found = np.load(REFERENCE), np.load(output)
            self.assertEqual(found["final_latents"].dtype, np.float32)
            np.testing.assert_array_equal(found["initial_noise"], wanted["initial_noise"][:2])
            # float32 sums of another order, over twenty steps; the images of the reference are float16.
            self.assertGreater(support.sqnr([wanted["final_latents"][:2]], [found["final_latents"]]), 90)
            np.testing.assert_allclose(found["images"], wanted["images"][:2].astype(np.float32), atol=2e-3)
            self.assertEqual(len(figures["prompts"]), 2)
            self.assertGreater(min(prompt["latent_psnr_db"] for prompt in figures["prompts"]), 100)
            self.assertGreater(min(prompt["image_psnr_db"] for prompt in figures["prompts"]), 75)
            self.assertEqual((figures["on"], figures["replaced"], figures["steps"], figures["guidance_scale"]),
                             (engine, {}, 20, 3))

    def testFiguresAreThoseOfTheFiles(self):
        unet = self.quantize("unet", "w4-g32", batch=2)
        floats, output = self.folder / "floats.npz", self.folder / "quantized.npz"
        self.sample("--count", "3", "--steps", "4", "-o", floats)
        figures = self.figures("--count", "3", "--steps", "4", "--unet", unet, "--reference", floats, "-o", output)
        reference, actual = np.load(floats), np.load(output)
        for index, row in enumerate(figures["prompts"]):
            latents = reference["final_latents"][index].astype(np.float64)
            error = np.mean(np.square(latents - actual["final_latents"][index]))
            self.assertAlmostEqual(row["latent_psnr_db"], 10 * np.log10(np.ptp(latents) ** 2 / error), 4)
            images = [np.clip(file["images"][index].astype(np.float64), -1, 1) for file in (reference, actual)]
            self.assertAlmostEqual(row["image_psnr_db"], 10 * np.log10(4 / np.mean(np.square(images[0] - images[1]))), 4)
        for name in ("latent_psnr_db", "image_psnr_db"):
            values, interval = [row[name] for row in figures["prompts"]], figures[name]
            self.assertAlmostEqual(interval["mean"], np.mean(values), 6)
            self.assertTrue(min(values) - 1e-9 <= interval["low"] < interval["mean"] < interval["high"] <= max(values) + 1e-9)
        self.assertEqual(figures["replaced"], {"unet": unet.name})
        self.assertTrue(5 < figures["latent_psnr_db"]["mean"] < 60, figures)
        again = self.figures("--count", "3", "--steps", "4", "--unet", unet, "--reference", floats)
        self.assertEqual(again, figures)

    def testDecoderAndEncoderAreReplaced(self):
        floats = self.folder / "floats.npz"
        self.sample("--count", "2", "--steps", "2", "-o", floats)
        same = ["--count", "2", "--steps", "2", "--reference", floats]
        table = self.sample(*same).stdout
        self.assertRegex(table, r"(?m)^ +1 +inf +inf$")
        self.assertRegex(table, r"(?m)^mean image PSNR: inf dB, 95 % interval inf to inf$")
        decoded = self.figures("--vae-decoder", self.quantize("vae_decoder", "w4"), *same)
        self.assertEqual(decoded["latent_psnr_db"]["mean"], "inf", "the decoder does not change the latents")
        self.assertTrue(5 < decoded["image_psnr_db"]["mean"] < 60, decoded)
        encoded = self.figures("--text-encoder", self.quantize("text_encoder", "w4", batch=3), *same)
        self.assertTrue(5 < encoded["latent_psnr_db"]["mean"] < 60, encoded)

    def testReferenceOfOtherPrompts(self):
        floats = self.folder / "floats.npz"
        self.sample("--count", "1", "--steps", "1", "-o", floats)
        self.refused(2, r"initial_noise: the reference is float32 \[1, 4, 16, 16\], wanted float32 \[2, 4, 16, 16\]",
                     "sample", *INPUTS, "--count", "2", "--steps", "1", "--reference", floats)
        arrays = dict(np.load(floats))
        arrays["initial_noise"] = -arrays["initial_noise"]
        np.savez(floats, **arrays)
        self.refused(2, "floats.npz' was made from other noise",
                     "sample", *INPUTS, "--count", "1", "--steps", "1", "--reference", floats)


if __name__ == "__main__":
    unittest.main()
