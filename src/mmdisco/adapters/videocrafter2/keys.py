"""Names of the weights in a published checkpoint, and the names of the same weights here.

Knows names alone: no tensor and no file.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Rule = tuple[str, str | Callable[[re.Match[str]], str]]


@dataclass(frozen=True)
class KeyGroup:
    """One network of the checkpoint.

    Attributes:
        prefix: What its names begin with in the checkpoint.
        rules: Regular expressions, each replaced in turn, that turn the rest into our name.
    """

    prefix: str
    rules: Sequence[Rule]

    def rename(self, key: str) -> str:
        """Our name of a weight whose name in the checkpoint is ``prefix + key``."""
        for pattern, replacement in self.rules:
            key = re.sub(pattern, replacement, key)
        return key


# checked against the table of the run's own schedule, not loaded
SCHEDULE = ("betas", "scale_arr")
# follow from the two above
DERIVED = frozenset(
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


def _one_less(match: re.Match[str]) -> str:
    return f"{match[1]}.{int(match[2]) - 1}."


_TOKENS: Sequence[Rule] = (
    (r"\.proj_in\.", ".tokens.enter."),
    (r"\.proj_out\.", ".tokens.leave."),
    (r"\.transformer_blocks\.0\.", ".tokens."),
    (r"\.attn([12])\.", r".attention\1."),
    (r"\.to_q\.", ".query."),
    (r"\.to_k\.", ".key."),
    (r"\.to_v\.", ".value."),
    (r"\.to_out\.0\.", ".out."),
    (r"\.ff\.net\.0\.proj\.", ".gate."),
    (r"\.ff\.net\.2\.", ".narrow."),
)

UNET = KeyGroup(
    "model.diffusion_model.",
    (
        (r"^time_embed\.", "level_embedding."),
        (r"^fps_embedding\.", "rate_embedding."),
        (r"^init_attn\.0\.", "first_temporal."),
        (r"^out\.", "last."),
        (r"^input_blocks\.0\.0\.", "first."),
        (r"^input_blocks\.(\d+)\.0\.op\.", r"down.\1.resample."),
        (r"^output_blocks\.(\d+)\.\d\.conv\.", r"up.\1.resample.conv."),
        (r"^input_blocks\.", "down."),
        (r"^output_blocks\.", "up."),
        (r"^middle_block\.3\.", "middle.1.residual."),
        (r"^middle_block\.", "middle.0."),
        (r"^(\w+\.\d+)\.0\.(?=\w+_layers|skip_|temopral_)", r"\1.residual."),
        (r"^((?:down|up|middle)\.\d+)\.1\.", r"\1.spatial."),
        (r"^((?:down|up|middle)\.\d+)\.2\.", r"\1.temporal."),
        (r"\.in_layers\.", ".before."),
        (r"\.emb_layers\.", ".level."),
        # dropout stands before the convolution there
        (r"\.out_layers\.3\.", ".after.2."),
        (r"\.out_layers\.", ".after."),
        (r"\.skip_connection\.", ".skip."),
        (r"\.temopral_conv\.conv([2-4])\.3\.", r".through_time.\1.2."),
        (r"\.temopral_conv\.conv([1-4])\.", r".through_time.\1."),
        # they count from one there: the first block is the convolution before all
        (r"^(down)\.(\d+)\.", _one_less),
        (r"(\.through_time)\.(\d)\.", _one_less),
        *_TOKENS,
    ),
)

_PICTURE: Sequence[Rule] = (
    (r"\.conv_in\.", ".first."),
    (r"\.norm_out\.", ".last.0."),
    (r"\.conv_out\.", ".last.2."),
    (r"\.mid\.block_1\.", ".middle.0."),
    (r"\.mid\.attn_1\.", ".middle.1."),
    (r"\.mid\.block_2\.", ".middle.2."),
    (r"\.block\.", ".blocks."),
    (r"\.nin_shortcut\.", ".skip."),
    (r"\.(?:down|up)sample\.", ".resample."),
    (r"\.q\.", ".query."),
    (r"\.k\.", ".key."),
    (r"\.v\.", ".value."),
    (r"\.proj_out\.", ".out."),
    (r"^quant_conv\.", "moments."),
    (r"^post_quant_conv\.", "unpack."),
)


def autoencoder(levels: int) -> KeyGroup:
    """The autoencoder: the checkpoint counts the levels of its decoder from the picture inwards."""

    def turned(match: re.Match[str]) -> str:
        return f"decoder.up.{levels - 1 - int(match[1])}."

    return KeyGroup("first_stage_model.", (*_PICTURE, (r"^decoder\.up\.(\d)\.", turned)))


def tower(layers: int) -> KeyGroup:
    """The text tower; the names of what is not run become those of no weight of ours."""
    return KeyGroup(
        "cond_stage_model.model.",
        (
            (rf"^transformer\.resblocks\.{layers - 1}\.", "last_block."),
            (r"^transformer\.resblocks\.", "blocks."),
            (r"^token_embedding\.", "words."),
            (r"^positional_embedding$", "places"),
            (r"^ln_final\.", "norm."),
            (r"\.ln_([12])\.", r".norm\1."),
            (r"\.attn\.in_proj_", ".query_key_value."),
            (r"\.attn\.out_proj\.", ".out."),
            (r"\.mlp\.c_fc\.", ".widen."),
            (r"\.mlp\.c_proj\.", ".narrow."),
        ),
    )


# of the text tower: for comparing with pictures, and the block that is not run
NOT_RUN = re.compile(r"^(text_projection$|logit_scale$|last_block\.)")

# convolutions of one tap there, linear maps here
ONE_TAP = frozenset({"first_temporal.tokens.enter.weight", "first_temporal.tokens.leave.weight"})
