"""Rules from the published names of weights to those of the networks here.

A name that no rule matches is kept, and so is reported as unknown. Knows neither networks nor
files.
"""

from typing import Final

from mmdisco.io.pickles import Rules

_TIME: Final[Rules] = ((r"^time_embed\.0\.", "time.first."), (r"^time_embed\.2\.", "time.second."))

JOINT: Final[Rules] = (
    *_TIME,
    (r"^input_blocks\.(\d+)\.(\d+)\.", r"encoder.\1.parts.\2."),
    (r"^middle_blocks\.", "middle."),
    (r"^output_blocks\.(\d+)\.(\d+)\.", r"decoder.\1.parts.\2."),
    (r"^(audio|video)_out\.0\.", r"\1_head.norm."),
    (r"^(audio|video)_out\.2\.", r"\1_head.convolution."),
    (r"\bemb_layers\.1\.", "modulation."),
    (r"\b(audio|video)_in_layers\.0\.", r"\1.norm."),
    (r"\b(audio|video)_in_layers\.2\.", r"\1.wide."),
    (r"\b(audio|video)_out_layers\.0\.", r"\1.inner_norm."),
    (r"\b(audio|video)_out_layers\.3\.", r"\1.last."),
    (r"\b(audio|video)_skip_connection\.", r"\1.skip."),
    (r"\baudio_attention_block\.", "audio.attention.0.attention."),
    (r"\bspatial_attention_block\.", "video.attention.0.attention."),
    (r"\btemporal_attention_block\.", "video.attention.1.attention."),
    (r"\ba_(norm|qkv)\.", r"audio.\1."),
    (r"\bv_(norm|qkv)\.", r"video.\1."),
    (r"\b(audio|video)_proj_out\.", r"\1.out."),
    (r"\bproj_out\.", "out."),
    # the published names repeat what they belong to
    (r"\bvideo_conv_(spatial|temporal)\.", r"\1."),
    (r"(^encoder\.0\.parts\.0)\.(audio|video)_conv\.", r"\1.\2."),
    (r"\b(audio|video)_conv\.", ""),
    (r"\bGroupNorm\.", ""),
)

UPSCALER: Final[Rules] = (
    *_TIME,
    (r"^input_blocks\.0\.0\.", "entry."),
    (r"^input_blocks\.(\d+)\.(\d+)\.", r"encoder.\1.parts.\2."),
    (r"^middle_block\.", "middle."),
    (r"^output_blocks\.(\d+)\.(\d+)\.", r"decoder.\1.parts.\2."),
    (r"^out\.0\.", "head_norm."),
    (r"^out\.2\.", "head."),
    (r"\bemb_layers\.1\.", "modulation."),
    (r"\bin_layers\.0\.", "norm."),
    (r"\bin_layers\.2\.", "first."),
    (r"\bout_layers\.0\.", "inner_norm."),
    (r"\bout_layers\.3\.", "second."),
    (r"\bskip_connection\.", "skip."),
    (r"\bproj_out\.", "out."),
)
