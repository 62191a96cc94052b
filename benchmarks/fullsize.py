"""Pipelines of diffusers at their published size, with weights on the meta device.

Sizes are those of the published ``config.json``s and conversions; what is not given here is the
class's own default, which is the published size too. ``VIDEO`` and ``AUDIO`` have for each a
function that builds it, the arguments of a call, and what its authors publish: the parameters of
its denoiser in billions, and the shape of the latent of that call.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import diffusers
import stockpipelines as tiny
import torch
import transformers
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder

# whose annotations are narrower than what they take
d: Any = diffusers
t: Any = transformers


@contextmanager
def _published(dtype: torch.dtype = torch.bfloat16) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)


def _umt5() -> Any:
    sizes = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    return t.UMT5EncoderModel(t.UMT5Config(vocab_size=256384, **sizes))


def _t5(**sizes: Any) -> Any:
    return t.T5EncoderModel(t.T5Config(**sizes))


def _t5_xxl() -> Any:
    sizes = {"d_model": 4096, "d_ff": 10240, "num_layers": 24, "num_heads": 64}
    return _t5(feed_forward_proj="gated-gelu", **sizes)


def _wan(transformer: Any, vae: Any, scheduler: Any, **settings: Any) -> Any:
    return d.WanPipeline(
        tokenizer=tiny._t5_tokenizer(512),
        text_encoder=_umt5(),
        vae=vae,
        transformer=transformer,
        scheduler=scheduler,
        **settings,
    )


def wan21() -> Any:
    scheduler = d.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    with _published():
        transformer = d.WanTransformer3DModel(num_attention_heads=12, ffn_dim=8960, num_layers=30)
        return _wan(transformer, d.AutoencoderKLWan(), scheduler)


def wan22_experts() -> Any:
    scheduler = d.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    with _published():
        experts = {name: d.WanTransformer3DModel() for name in ("transformer", "transformer_2")}
        own = {"transformer_2": experts["transformer_2"], "boundary_ratio": 0.875}
        return _wan(experts["transformer"], d.AutoencoderKLWan(), scheduler, **own)


def wan22() -> Any:
    scheduler = d.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=5.0
    )
    with _published():
        transformer = d.WanTransformer3DModel(
            num_attention_heads=24, ffn_dim=14336, num_layers=30, in_channels=48, out_channels=48
        )
        vae = d.AutoencoderKLWan(
            base_dim=160,
            decoder_base_dim=256,
            z_dim=48,
            is_residual=True,
            patch_size=2,
            in_channels=12,
            out_channels=12,
            scale_factor_spatial=16,
            latents_mean=[0.0] * 48,
            latents_std=[1.0] * 48,
        )
        return _wan(transformer, vae, scheduler, expand_timesteps=True)


def hunyuan15() -> Any:
    sizes = {"hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28}
    heads = {"num_attention_heads": 28, "num_key_value_heads": 4}
    rope = {"rope_type": "default", "mrope_section": [16, 24, 24], "rope_theta": 1e6}
    text = t.Qwen2_5_VLTextConfig(vocab_size=152064, rope_parameters=rope, **sizes, **heads)
    glyphs = {"d_model": 1472, "d_ff": 3584, "d_kv": 64, "num_layers": 12, "num_heads": 6}
    scheduler = d.FlowMatchEulerDiscreteScheduler(shift=5.0)
    with _published():
        return d.HunyuanVideo15Pipeline(
            text_encoder=t.Qwen2_5_VLTextModel(text),
            tokenizer=tiny._qwen_tokenizer(),
            transformer=d.HunyuanVideo15Transformer3DModel(task_type="t2v"),
            vae=d.AutoencoderKLHunyuanVideo15(),
            scheduler=scheduler,
            text_encoder_2=_t5(vocab_size=1510, feed_forward_proj="gated-gelu", **glyphs),
            tokenizer_2=t.ByT5Tokenizer(),
            guider=d.ClassifierFreeGuidance(guidance_scale=6.0),
        )


def cogvideox() -> Any:
    scheduler = d.CogVideoXDDIMScheduler(
        prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing"
    )
    with _published(torch.float16):
        vae = d.AutoencoderKLCogVideoX(
            down_block_types=("CogVideoXDownBlock3D",) * 4,
            up_block_types=("CogVideoXUpBlock3D",) * 4,
            block_out_channels=(128, 256, 256, 512),
            latent_channels=16,
            layers_per_block=3,
        )
        return d.CogVideoXPipeline(
            tokenizer=tiny._t5_tokenizer(226),
            text_encoder=_t5_xxl(),
            vae=vae,
            transformer=d.CogVideoXTransformer3DModel(),
            scheduler=scheduler,
        )


def stable_audio() -> Any:
    sizes = {"d_model": 768, "d_ff": 3072, "num_layers": 12, "num_heads": 12}
    scheduler = d.CosineDPMSolverMultistepScheduler(solver_order=2, sigma_data=1.0)
    with _published(torch.float32):
        return d.StableAudioPipeline(
            vae=d.AutoencoderOobleck(),
            text_encoder=_t5(**sizes),
            projection_model=d.StableAudioProjectionModel(
                text_encoder_dim=768, conditioning_dim=768, min_value=0, max_value=512
            ),
            tokenizer=tiny._t5_tokenizer(128),
            transformer=d.StableAudioDiTModel(),
            scheduler=scheduler,
        )


def stable_audio_3() -> Any:
    pipe = tiny.stable_audio_3()
    sizes = {"vocab_size": 256000, "hidden_size": 768, "intermediate_size": 2048, "head_dim": 64}
    sizes |= {"num_attention_heads": 12, "num_key_value_heads": 12, "num_hidden_layers": 12}
    text = t.T5GemmaModuleConfig(**sizes)
    config = t.T5GemmaConfig(
        encoder=text, decoder=text, is_encoder_decoder=False, vocab_size=256000
    )
    with _published(torch.float16):
        return d.StableAudio3Pipeline(
            vae=d.AutoencoderSAME(),
            text_encoder=t.T5GemmaEncoderModel(config),
            tokenizer=pipe.tokenizer,
            duration_embedder=StableAudio3DurationEmbedder(),
            transformer=d.StableAudio3DiTModel(),
            scheduler=pipe.scheduler,
        )


def audioldm2() -> Any:
    text = t.ClapTextConfig()
    unet = {
        "block_out_channels": (128, 256, 384, 640),
        "cross_attention_dim": ([None, 768, 1024],) * 4,
        "attention_head_dim": (4, 8, 12, 20),
        "down_block_types": ("DownBlock2D", *("CrossAttnDownBlock2D",) * 3),
        "up_block_types": (*("CrossAttnUpBlock2D",) * 3, "UpBlock2D"),
        "in_channels": 8,
        "out_channels": 8,
        "sample_size": 256,
    }
    down, up = ["DownEncoderBlock2D"] * 3, ["UpDecoderBlock2D"] * 3
    vae = {"in_channels": 1, "out_channels": 1, "latent_channels": 8, "layers_per_block": 2}
    vae |= {"block_out_channels": [128, 256, 512], "down_block_types": down, "up_block_types": up}
    vocoder = t.SpeechT5HifiGanConfig(
        model_in_dim=64,
        upsample_initial_channel=1024,
        upsample_rates=[5, 4, 2, 2, 2],
        upsample_kernel_sizes=[16, 16, 8, 4, 4],
        normalize_before=False,
    )
    large = {"d_model": 1024, "d_ff": 2816, "num_layers": 24, "num_heads": 16}
    pipe = tiny.audioldm2()
    with _published(torch.float16):
        language_model = t.GPT2LMHeadModel(t.GPT2Config())
        language_model.config.max_new_tokens = 8
        return d.AudioLDM2Pipeline(
            vae=d.AutoencoderKL(**vae),
            text_encoder=t.ClapModel(t.ClapConfig(text_config=text.to_dict())),
            text_encoder_2=_t5(feed_forward_proj="gated-gelu", **large),
            projection_model=d.AudioLDM2ProjectionModel(
                text_encoder_dim=512, text_encoder_1_dim=1024, langauge_model_dim=768
            ),
            language_model=language_model,
            tokenizer=pipe.tokenizer,
            tokenizer_2=pipe.tokenizer_2,
            feature_extractor=pipe.feature_extractor,
            unet=d.AudioLDM2UNet2DConditionModel(**unet),
            scheduler=pipe.scheduler,
            vocoder=t.SpeechT5HifiGan(vocoder),
        )


VIDEO: dict[str, Any] = {
    "Wan 2.1 1.3B": (wan21, (480, 832, 81), 1.42, (16, 21, 60, 104)),
    "Wan 2.2 A14B": (wan22_experts, (480, 832, 81), 14.3, (16, 21, 60, 104)),
    "Wan 2.2 5B": (wan22, (704, 1280, 121), 5.0, (48, 31, 44, 80)),
    "HunyuanVideo 1.5": (hunyuan15, (480, 848, 121), 8.3, (32, 31, 30, 53)),
    "CogVideoX 2B": (cogvideox, (480, 720, 49), 1.69, (16, 13, 60, 90)),
}
AUDIO: dict[str, Any] = {
    "Stable Audio 1": (stable_audio, {"audio_end_in_s": 47.0}, 1.057, (64, 1024)),
    "Stable Audio 3": (stable_audio_3, {"duration": 5.0}, 1.45, (256, 54)),
    "AudioLDM 2": (audioldm2, {"audio_length_in_s": 10.24}, 0.35, (8, 256, 16)),
}


def build(name: str) -> tuple[Any, dict[str, Any], float, tuple[int, ...]]:
    """Return the pipeline of a name, the arguments of a call, and what is published of both."""
    if name in AUDIO:
        return AUDIO[name][0](), *AUDIO[name][1:]
    make, sizes, billions, shape = VIDEO[name]
    return make(), dict(zip(("height", "width", "num_frames"), sizes, strict=True)), billions, shape
