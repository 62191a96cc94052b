"""The parts of ComfyUI that the node pack touches, small enough to read: its types, and a sampler,
guider, model and autoencoders that keep ComfyUI's promises with tiny networks.

``install`` puts them in the place of ComfyUI and returns the pack, loaded as ComfyUI loads it.
"""

import importlib.util
import math
import sys
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from types import ModuleType, SimpleNamespace

import torch
from fakemodels import CONST

PACK = Path(__file__).parents[2] / "comfyui"


class IOType:
    """A type of inputs and outputs, such as IMAGE."""

    def __init__(self, io_type):
        self.io_type = io_type

    def Input(self, id, **facts):
        return SimpleNamespace(id=id, io_type=self.io_type, **{"optional": False, **facts})

    def Output(self, **facts):
        return SimpleNamespace(io_type=self.io_type, **{"display_name": None, **facts})


class Io:
    """``comfy_api.latest.io``."""

    Custom = IOType
    Schema = SimpleNamespace

    class ComfyNode:
        pass

    class NodeOutput:
        def __init__(self, *args):
            self.result = args


for _name in [
    "Image",
    "Audio",
    "Video",
    "Latent",
    "Model",
    "Conditioning",
    "Guider",
    "Vae",
    "Int",
    "Float",
    "String",
    "Combo",
]:
    setattr(Io, _name, IOType(_name.upper()))


class NestedTensor:
    """``comfy.nested_tensor.NestedTensor``."""

    is_nested = True

    def __init__(self, tensors):
        self.tensors = list(tensors)

    def _copy(self):
        return NestedTensor(self.tensors)

    def apply_operation(self, other, operation):
        parts = other.tensors if isinstance(other, NestedTensor) else [other] * len(self.tensors)
        return NestedTensor(map(operation, self.tensors, parts))

    def __mul__(self, other):
        return self.apply_operation(other, lambda x, y: x * y)

    def __add__(self, other):
        return self.apply_operation(other, lambda x, y: x + y)

    def unbind(self):
        return self.tensors

    def cpu(self):
        copy = self._copy()
        copy.tensors = [one.cpu() for one in copy.tensors]
        return copy


def pack_latents(latents):
    flat = [one.reshape(len(one), 1, -1) for one in latents]
    return torch.cat(flat, -1), [one.shape for one in latents]


def unpack_latents(packed, shapes):
    sizes = [math.prod(shape[1:]) for shape in shapes]
    parts = packed.split(sizes, -1)
    return [
        part.reshape(len(packed), *shape[1:]) for part, shape in zip(parts, shapes, strict=True)
    ]


class CFGGuider:
    """``comfy.samplers.CFGGuider`` of one latent."""

    def __init__(self, model_patcher):
        self.model_patcher, self.model_options = model_patcher, model_patcher.model_options
        self.original_conds, self.cfg = {}, 1.0

    def set_conds(self, positive, negative):
        self.original_conds = {"positive": positive, "negative": negative}

    def set_cfg(self, cfg):
        self.cfg = cfg

    def __call__(self, x, sigma, model_options=None, seed=None):
        cond, uncond = (
            self.inner_model.denoised(x, sigma, self.conds[key]) for key in ("positive", "negative")
        )
        for hook in (model_options or {}).get("sampler_post_cfg_function", ()):
            hook({"uncond_denoised": uncond})
        return uncond + (cond - uncond) * self.cfg

    def sample(
        self, noise, latent_image, sampler, sigmas, denoise_mask=None, callback=None,
        disable_pbar=None, seed=None,
    ):  # fmt: skip
        if denoise_mask is not None:
            denoise_mask = denoise_mask.expand(latent_image.shape)
        self.conds, self.loaded_models = dict(self.original_conds), [self.model_patcher]
        self.model_patcher.load()
        self.inner_model = self.model_patcher.model
        try:
            if latent_image.any():
                latent_image = self.inner_model.process_latent_in(latent_image)
            extra = {"model_options": dict(self.model_options), "seed": seed}
            out = sampler.sample(
                self, sigmas, extra, callback, noise, latent_image, denoise_mask, disable_pbar
            )
            out = self.inner_model.process_latent_out(out)
        finally:
            self.model_patcher.cleanup()
        del self.inner_model, self.conds, self.loaded_models
        return out


class Sampler:
    """``comfy.samplers.Sampler``."""


class KSampler(Sampler):
    """``comfy.samplers.KSAMPLER``: a function of k-diffusion, with masks."""

    def __init__(self, function):
        self.function = function

    def sample(self, wrap, sigmas, extra, callback, noise, latent_image, denoise_mask, _disable):
        def model(x, sigma):
            inner = wrap.inner_model
            options = extra["model_options"]
            if denoise_mask is None:
                return wrap(x, sigma, model_options=options, seed=extra["seed"])
            kept = inner.scale_latent_inpaint(
                x=x, sigma=sigma, noise=noise, latent_image=latent_image
            )
            x = x * denoise_mask + kept * (1 - denoise_mask)
            out = wrap(x, sigma, model_options=options, seed=extra["seed"])
            return out * denoise_mask + latent_image * (1 - denoise_mask)

        sampling = wrap.inner_model.model_sampling
        full = bool(sigmas[0] >= sampling.sigma_max)
        x = sampling.noise_scaling(sigmas[0], noise, latent_image, full)
        x = self.function(model, x, sigmas, extra, callback or (lambda *_: None))
        return sampling.inverse_noise_scaling(sigmas[-1], x)


def euler(model, x, sigmas, _extra, callback):
    for step, (sigma, after) in enumerate(pairwise(sigmas)):
        x_0 = model(x, sigma.expand(len(x)))
        callback(step, x_0, x, len(sigmas) - 1)
        x = x + (x - x_0) / sigma * (after - sigma)
    return x


def two_step(model, x, sigmas, _extra, _callback):
    """Adams-Bashforth of two steps."""
    old = None
    for sigma, after in pairwise(sigmas):
        slope = (x - model(x, sigma.expand(len(x)))) / sigma
        x = x + (slope if old is None else 1.5 * slope - 0.5 * old) * (after - sigma)
        old = slope
    return x


def euler_cfg_pp(model, x, sigmas, extra, callback):
    options = extra["model_options"]
    options["sampler_post_cfg_function"] = [lambda args: args["uncond_denoised"]]
    return euler(model, x, sigmas, extra, callback)


def modules(models_dir):
    """The modules of ComfyUI by name."""
    upscale = torch.nn.functional.interpolate
    return {
        "comfy": {},
        "comfy.samplers": {"CFGGuider": CFGGuider, "Sampler": Sampler},
        "comfy.model_sampling": {"CONST": CONST},
        "comfy.nested_tensor": {"NestedTensor": NestedTensor},
        "comfy.model_management": {},
        "comfy.utils": {
            "pack_latents": pack_latents,
            "unpack_latents": unpack_latents,
            "common_upscale": lambda x, width, height, *_: upscale(x, (height, width)),
        },
        "comfy_api": {},
        "comfy_api.latest": {
            "io": Io,
            "ComfyExtension": object,
            "InputImpl": SimpleNamespace(VideoFromComponents=SimpleNamespace),
            "Types": SimpleNamespace(VideoComponents=SimpleNamespace),
        },
        "folder_paths": {
            "models_dir": str(models_dir),
            "add_model_folder_path": lambda name, path: None,
            "get_folder_paths": lambda name: [str(Path(models_dir) / name)],
        },
    }


@contextmanager
def installed(models_dir):
    """The pack, loaded beside this fake; both are gone afterwards."""
    name = "mmdisco_nodes"
    before = dict(sys.modules)
    try:
        for own, members in modules(models_dir).items():
            sys.modules[own] = module = ModuleType(own)
            vars(module).update(members)
            parent, _, child = own.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, module)
        spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py")
        sys.modules[name] = pack = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(pack)
        yield pack
    finally:
        fakes = (name, *modules(models_dir))
        for own in [one for one in sys.modules if one.startswith(name) or one in fakes]:
            del sys.modules[own]
            if own in before:
                sys.modules[own] = before[own]
