"""Names of VideoCrafter2's weights, as published and as in diffusers and transformers.

Knows names and shapes alone: no network and no file.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from torch import Tensor

from mmdisco.adapters import openai_unet
from mmdisco.io.pickles import Rules, renamed

UNET_PREFIX: Final = "model.diffusion_model."
AUTOENCODER_PREFIX: Final = "first_stage_model."
TEXT_PREFIX: Final = "cond_stage_model.model."

# checked against the table of the run's own schedule, not loaded
SCHEDULE: Final = ("betas", "scale_arr")
# follow from the two above
DERIVED: Final = frozenset(
    {
        "alphas_cumprod",
        "alphas_cumprod_prev",
        "sqrt_alphas_cumprod",
        "sqrt_one_minus_alphas_cumprod",
        "log_one_minus_alphas_cumprod",
        "sqrt_recip_alphas_cumprod",
        "sqrt_recipm1_alphas_cumprod",
        "posterior_variance",
        "posterior_log_variance_clipped",
        "posterior_mean_coef1",
        "posterior_mean_coef2",
    }
)

_BLOCK: Final = r"^((?:down|up)_blocks\.\d+|mid_block)\.(\d+)"
_UNET: Final[Rules] = (
    (r"^time_embed\.0\.", "time_embedding.time.linear_1."),
    (r"^time_embed\.2\.", "time_embedding.time.linear_2."),
    (r"^fps_embedding\.0\.", "time_embedding.rate.linear_1."),
    (r"^fps_embedding\.2\.", "time_embedding.rate.linear_2."),
    (r"^init_attn\.0\.", "transformer_in."),
    (r"^middle_block\.3\.", "mid_block.1.0."),
    (r"^middle_block\.", "mid_block.0."),
    (r"^(down_blocks\.\d+)\.\d+\.0\.op\.", r"\1.downsamplers.0.conv."),
    (r"^(up_blocks\.\d+)\.\d+\.\d\.conv\.", r"\1.upsamplers.0.conv."),
    (rf"{_BLOCK}\.0\.temopral_conv\.", r"\1.temp_convs.\2."),
    (rf"{_BLOCK}\.0\.", r"\1.resnets.\2."),
    (rf"{_BLOCK}\.1\.", r"\1.attentions.\2."),
    (rf"{_BLOCK}\.2\.", r"\1.temp_attentions.\2."),
    *openai_unet.RESBLOCK,
)
_TEXT: Final[Rules] = (
    (r"^positional_embedding$", "embeddings.position_embedding.weight"),
    (r"^token_embedding\.", "embeddings.token_embedding."),
    (r"^ln_final\.", "final_layer_norm."),
    (r"^transformer\.resblocks\.", "encoder.layers."),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)


def unet_weights(published: Mapping[str, Tensor], depth: int, path: Path) -> dict[str, Tensor]:
    """Rename the U-Net's weights to those of ``new_unet``.

    Args:
        published: Weights by their published names, without ``UNET_PREFIX``.
        depth: Residual blocks per level on the way down.
        path: File of the weights, for the message.

    Raises:
        UserError: Two weights get the same name.
    """
    rules = (*openai_unet.levels(depth), *_UNET)
    return {
        # convolutions of one tap along time there, linear maps here
        name: value.squeeze(-1) if name.startswith("transformer_in.proj_") else value
        for name, value in renamed(published, rules, path).items()
    }


def text_weights(published: Mapping[str, Tensor], layers: int, path: Path) -> dict[str, Tensor]:
    """Rename OpenCLIP's text tower to a ``CLIPTextModel`` of its first ``layers`` layers.

    Args:
        published: Weights by their published names, without ``TEXT_PREFIX``.
        layers: Layers that are run; those after them and the projection to images are left out.
        path: File of the weights, for the message.

    Raises:
        UserError: Two weights get the same name.
    """
    unused = rf"^(text_projection$|logit_scale$|encoder\.layers\.{layers}\.)"
    weights: dict[str, Tensor] = {}
    for name, value in renamed(published, _TEXT, path).items():
        if re.match(unused, name):
            continue
        stem, joined, kind = name.partition("in_proj_")
        if joined:
            thirds = zip(("q_proj", "k_proj", "v_proj"), value.chunk(3), strict=False)
            weights |= {f"{stem}{part}.{kind}": third for part, third in thirds}
        else:
            weights[name] = value
    return weights
