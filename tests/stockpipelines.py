"""Pipelines of diffusers at a size that runs at once: their real classes, random weights.

``PIPELINES`` has for each a function that builds it and the arguments of its call.
"""

import os

import torch

os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
import diffusers as d
import transformers as t
from diffusers.pipelines.ace_step.modeling_ace_step import AceStepConditionEncoder
from diffusers.pipelines.ltx2.connectors import LTX2TextConnectors
from diffusers.pipelines.ltx2.vocoder import LTX2Vocoder
from diffusers.pipelines.stable_audio_3.modeling_stable_audio_3 import StableAudio3DurationEmbedder
from transformers.convert_slow_tokenizer import bytes_to_unicode

_BYTES = list(bytes_to_unicode().values())
_PROMPT = {"prompt": "a dog barks"}


def _pieces():
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    return [*pieces, *((chr(code), -3.0) for code in range(33, 127))]


def _t5_tokenizer(length=24):
    return t.T5Tokenizer(vocab=_pieces(), model_max_length=length)


def _roberta_tokenizer():
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocab = {token: index for index, token in enumerate([*special, *_BYTES])}
    return t.RobertaTokenizer(vocab=vocab, merges=[], model_max_length=24)


def _clip_tokenizer():
    tokens = ["<|startoftext|>", "<|endoftext|>", *_BYTES, *(one + "</w>" for one in _BYTES)]
    vocab = {token: index for index, token in enumerate(tokens)}
    return t.CLIPTokenizer(vocab=vocab, merges=[], model_max_length=24)


class _TextOnly(t.Qwen2Tokenizer):
    """Qwen's processor of texts, images and videos, without torchvision: for texts alone."""

    def __call__(self, text, images, videos, **settings):
        assert images is None
        assert videos is None
        return super().__call__(text, **settings)


def _qwen_tokenizer(kind=t.Qwen2Tokenizer):
    tokens = ["<|endoftext|>", *_BYTES, "<|image_pad|>", "<|video_pad|>"]
    vocab = {token: index for index, token in enumerate(tokens)}
    chat = "{% for one in messages %}{{ one.content }}{% endfor %}"
    return kind(vocab=vocab, merges=[], chat_template=chat, model_max_length=4096)


def _gemma_tokenizer():
    tokens = ["<pad>", "<eos>", "<bos>", "<unk>", "<mask>", "▁", *map(chr, range(33, 127))]
    vocab = {token: index for index, token in enumerate(tokens)}
    return t.GemmaTokenizer(vocab=vocab, merges=[], model_max_length=24)


def _t5(width=32):
    sizes = {"d_model": width, "d_ff": 37, "d_kv": 8, "num_heads": 2, "num_layers": 1}
    return t.T5EncoderModel(t.T5Config(vocab_size=512, **sizes))


def _clip_text():
    sizes = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4}
    sizes |= {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1, "vocab_size": 1000}
    return t.CLIPTextModel(t.CLIPTextConfig(num_hidden_layers=1, **sizes))


def _clap_text(width):
    sizes = {"hidden_size": width, "intermediate_size": 37, "num_attention_heads": 1}
    sizes |= {"bos_token_id": 0, "eos_token_id": 2, "pad_token_id": 1, "vocab_size": 1000}
    return t.ClapTextConfig(num_hidden_layers=1, projection_dim=width, **sizes)


def _qwen_text():
    return t.Qwen2_5_VLTextModel(_qwen_text_config())


def _qwen_text_config():
    rope = {"rope_type": "default", "mrope_section": [1, 1, 2], "rope_theta": 1e4}
    sizes = {"vocab_size": 512, "hidden_size": 16, "intermediate_size": 16}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2}
    return t.Qwen2_5_VLTextConfig(**sizes, **heads, num_hidden_layers=3, rope_parameters=rope)


def _ddim(**settings):
    settings = {"beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False, **settings}
    return d.DDIMScheduler(beta_schedule="scaled_linear", **settings)


def _image_vae(channels):
    return d.AutoencoderKL(
        block_out_channels=[8, 16],
        norm_num_groups=4,
        in_channels=channels,
        out_channels=channels,
        down_block_types=["DownEncoderBlock2D"] * 2,
        up_block_types=["UpDecoderBlock2D"] * 2,
        latent_channels=4,
    )


def _vocoder():
    return t.SpeechT5HifiGan(
        t.SpeechT5HifiGanConfig(
            model_in_dim=8,
            sampling_rate=16000,
            upsample_initial_channel=16,
            upsample_rates=[10, 16],
            upsample_kernel_sizes=[20, 32],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    )


def audioldm():
    unet = d.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        norm_num_groups=4,
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(16, 32),
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=32,
        class_embeddings_concat=True,
    )
    return d.AudioLDMPipeline(
        vae=_image_vae(1),
        text_encoder=t.ClapTextModelWithProjection(_clap_text(32)),
        tokenizer=_roberta_tokenizer(),
        unet=unet,
        scheduler=_ddim(),
        vocoder=_vocoder(),
    )


def audioldm2():
    unet = d.AudioLDM2UNet2DConditionModel(
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=32,
        in_channels=4,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=([None, 16, 32], [None, 16, 32]),
    )
    sounds = t.ClapAudioConfig(
        spec_size=8,
        window_size=4,
        num_mel_bins=8,
        depths=[1, 1],
        num_attention_heads=[1, 1],
        num_hidden_layers=1,
        hidden_size=192,
        projection_dim=16,
        patch_size=2,
        patch_stride=2,
        patch_embed_input_channels=4,
    )
    both = {"text_config": _clap_text(16).to_dict(), "audio_config": sounds.to_dict()}
    sizes = {"n_embd": 16, "n_head": 2, "n_layer": 1, "vocab_size": 1000}
    language_model = t.GPT2LMHeadModel(t.GPT2Config(n_positions=99, **sizes))
    language_model.config.max_new_tokens = 4
    return d.AudioLDM2Pipeline(
        vae=_image_vae(1),
        text_encoder=t.ClapModel(t.ClapConfig(**both, projection_dim=16)),
        text_encoder_2=_t5(),
        projection_model=d.AudioLDM2ProjectionModel(
            text_encoder_dim=16, text_encoder_1_dim=32, langauge_model_dim=16
        ),
        language_model=language_model,
        tokenizer=_roberta_tokenizer(),
        tokenizer_2=_t5_tokenizer(),
        feature_extractor=t.ClapFeatureExtractor(feature_size=8, hop_length=7900),
        unet=unet,
        scheduler=_ddim(),
        vocoder=_vocoder(),
    )


def _oobleck(rate):
    return d.AutoencoderOobleck(
        encoder_hidden_size=6,
        downsampling_ratios=[2, 2],
        decoder_channels=3,
        decoder_input_channels=3,
        audio_channels=2,
        channel_multiples=[2, 4],
        sampling_rate=rate,
    )


def stable_audio():
    transformer = d.StableAudioDiTModel(
        sample_size=8,
        in_channels=3,
        num_layers=1,
        attention_head_dim=4,
        num_key_value_attention_heads=2,
        out_channels=3,
        cross_attention_dim=4,
        time_proj_dim=8,
        global_states_input_dim=8,
        cross_attention_input_dim=4,
    )
    return d.StableAudioPipeline(
        vae=_oobleck(16),
        text_encoder=_t5(),
        projection_model=d.StableAudioProjectionModel(
            text_encoder_dim=32, conditioning_dim=4, min_value=0, max_value=32
        ),
        tokenizer=_t5_tokenizer(),
        transformer=transformer,
        scheduler=d.CosineDPMSolverMultistepScheduler(solver_order=2, sigma_data=1.0),
    )


def stable_audio_3():
    plain = {"use_differential_attention": False}
    transformer = d.StableAudio3DiTModel(
        io_channels=8,
        patch_size=1,
        embed_dim=32,
        depth=1,
        num_heads=4,
        cond_token_dim=16,
        global_cond_dim=16,
        local_add_cond_dim=5,
        timestep_features_dim=16,
        ff_mult=2,
        num_memory_tokens=3,
        **plain,
    )
    vae = d.AutoencoderSAME(
        audio_channels=2,
        patch_size=2,
        encoder_channels=8,
        encoder_c_mults=(2,),
        encoder_strides=(2,),
        encoder_transformer_depths=(1,),
        latent_dim=8,
        dim_heads=4,
        ff_mult=2,
        sampling_rate=16,
        **plain,
    )
    sizes = {"vocab_size": 512, "hidden_size": 16, "intermediate_size": 16, "head_dim": 8}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 1}
    text = t.T5GemmaModuleConfig(**sizes)
    encoder = t.T5GemmaEncoderModel(
        t.T5GemmaConfig(encoder=text, decoder=text, is_encoder_decoder=False, vocab_size=512)
    )
    return d.StableAudio3Pipeline(
        vae=vae,
        text_encoder=encoder,
        tokenizer=_gemma_tokenizer(),
        duration_embedder=StableAudio3DurationEmbedder(output_dim=16, fourier_dim=16),
        transformer=transformer,
        scheduler=d.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )


def ace_step():
    heads = {"num_attention_heads": 2, "num_key_value_heads": 2, "head_dim": 8}
    sizes = {"hidden_size": 16, "intermediate_size": 16, **heads}
    transformer = d.AceStepTransformer1DModel(
        num_hidden_layers=1, in_channels=9, audio_acoustic_hidden_dim=3, patch_size=2, **sizes
    )
    condition = AceStepConditionEncoder(
        text_hidden_dim=16,
        timbre_hidden_dim=3,
        num_lyric_encoder_hidden_layers=1,
        num_timbre_encoder_hidden_layers=1,
        **sizes,
    )
    text = t.Qwen3Model(t.Qwen3Config(vocab_size=512, num_hidden_layers=1, **sizes))
    return d.AceStepPipeline(
        vae=_oobleck(16),
        text_encoder=text,
        tokenizer=_qwen_tokenizer(),
        transformer=transformer,
        condition_encoder=condition,
        scheduler=d.FlowMatchEulerDiscreteScheduler(num_train_timesteps=1, shift=1.0),
    )


def longcat():
    from diffusers.models.autoencoders.autoencoder_longcat_audio_dit import LongCatAudioDiTVae

    transformer = d.LongCatAudioDiTTransformer(
        dit_dim=16, dit_depth=1, dit_heads=2, dit_text_dim=32, latent_dim=8
    )
    vae = LongCatAudioDiTVae(
        channels=8,
        c_mults=[1, 2],
        strides=[2],
        latent_dim=8,
        encoder_latent_dim=16,
        downsampling_ratio=4,
        sample_rate=16,
    )
    sizes = {"d_model": 32, "d_ff": 37, "d_kv": 8, "num_heads": 2, "num_layers": 1}
    return d.LongCatAudioDiTPipeline(
        vae=vae,
        text_encoder=t.UMT5EncoderModel(t.UMT5Config(vocab_size=512, **sizes)),
        tokenizer=_t5_tokenizer(),
        transformer=transformer,
    )


def animatediff():
    unet = d.UNet2DConditionModel(
        block_out_channels=(16, 32),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        norm_num_groups=2,
    )
    return d.AnimateDiffPipeline(
        vae=_image_vae(3),
        text_encoder=_clip_text(),
        tokenizer=_clip_tokenizer(),
        unet=unet,
        motion_adapter=d.MotionAdapter(
            block_out_channels=(16, 32),
            motion_layers_per_block=1,
            motion_norm_num_groups=2,
            motion_num_attention_heads=4,
        ),
        scheduler=_ddim(),
    )


def text_to_video():
    unet = d.UNet3DConditionModel(
        block_out_channels=(16, 16),
        layers_per_block=1,
        sample_size=8,
        in_channels=4,
        out_channels=4,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=32,
        attention_head_dim=4,
        norm_num_groups=2,
    )
    return d.TextToVideoSDPipeline(
        vae=_image_vae(3),
        text_encoder=_clip_text(),
        tokenizer=_clip_tokenizer(),
        unet=unet,
        scheduler=_ddim(),
    )


def cogvideox():
    transformer = d.CogVideoXTransformer3DModel(
        num_attention_heads=4,
        attention_head_dim=8,
        in_channels=4,
        out_channels=4,
        time_embed_dim=2,
        text_embed_dim=32,
        num_layers=1,
        sample_width=2,
        sample_height=2,
        sample_frames=9,
        patch_size=2,
        temporal_compression_ratio=4,
        max_text_seq_length=16,
    )
    vae = d.AutoencoderKLCogVideoX(
        in_channels=3,
        out_channels=3,
        down_block_types=("CogVideoXDownBlock3D",) * 4,
        up_block_types=("CogVideoXUpBlock3D",) * 4,
        block_out_channels=(8, 8, 8, 8),
        latent_channels=4,
        layers_per_block=1,
        norm_num_groups=2,
        temporal_compression_ratio=4,
    )
    return d.CogVideoXPipeline(
        tokenizer=_t5_tokenizer(),
        text_encoder=_t5(),
        vae=vae,
        transformer=transformer,
        scheduler=d.CogVideoXDDIMScheduler(
            prediction_type="v_prediction",
            rescale_betas_zero_snr=True,
            timestep_spacing="trailing",
        ),
    )


def cogvideox_dpm():
    pipe = cogvideox()
    pipe.scheduler = d.CogVideoXDPMScheduler.from_config(pipe.scheduler.config)
    return pipe


def _wan_transformer(channels=16, out_channels=16, **settings):
    return d.WanTransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=12,
        in_channels=channels,
        out_channels=out_channels,
        text_dim=32,
        freq_dim=256,
        ffn_dim=32,
        num_layers=1,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        rope_max_seq_len=32,
        **settings,
    )


def _wan_parts():
    vae = d.AutoencoderKLWan(
        base_dim=3,
        z_dim=16,
        dim_mult=[1, 1, 1, 1],
        num_res_blocks=1,
        temperal_downsample=[False, True, True],
    )
    scheduler = d.UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0
    )
    return {
        "tokenizer": _t5_tokenizer(),
        "text_encoder": _t5(),
        "vae": vae,
        "scheduler": scheduler,
    }


def wan():
    return d.WanPipeline(**_wan_parts(), transformer=_wan_transformer())


def wan_experts():
    experts = {"transformer": _wan_transformer(), "transformer_2": _wan_transformer()}
    return d.WanPipeline(**_wan_parts(), **experts, boundary_ratio=0.875)


def wan_5b():
    parts = _wan_parts()
    parts["scheduler"] = d.FlowMatchEulerDiscreteScheduler(shift=5.0)
    return d.WanPipeline(**parts, transformer=_wan_transformer(), expand_timesteps=True)


def wan_i2v():
    experts = {name: _wan_transformer(36) for name in ("transformer", "transformer_2")}
    return d.WanImageToVideoPipeline(
        **_wan_parts(), **experts, image_encoder=None, image_processor=None, boundary_ratio=0.9
    )


def hunyuan():
    transformer = d.HunyuanVideo15Transformer3DModel(
        in_channels=9,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        num_layers=1,
        num_refiner_layers=1,
        text_embed_dim=16,
        text_embed_2_dim=32,
        image_embed_dim=12,
        rope_axes_dim=(2, 2, 4),
        target_size=16,
        task_type="t2v",
    )
    vae = d.AutoencoderKLHunyuanVideo15(
        latent_channels=4,
        block_out_channels=(16, 16, 16, 16),
        layers_per_block=1,
        spatial_compression_ratio=8,
        temporal_compression_ratio=4,
        downsample_match_channel=False,
        upsample_match_channel=False,
    )
    pipe = d.HunyuanVideo15Pipeline(
        text_encoder=_qwen_text(),
        tokenizer=_qwen_tokenizer(),
        transformer=transformer,
        vae=vae,
        scheduler=d.FlowMatchEulerDiscreteScheduler(shift=7.0),
        text_encoder_2=_t5(),
        tokenizer_2=t.ByT5Tokenizer(),
        guider=d.ClassifierFreeGuidance(guidance_scale=3.0),
    )
    # as many tokens as were published would take all the time of the tests
    pipe.tokenizer_max_length, pipe.tokenizer_2_max_length = 16, 4
    pipe.vision_num_semantic_tokens = 2
    pipe.system_message = ""
    pipe.prompt_template_encode_start_idx = 2
    return pipe


def kandinsky5(kind=d.Kandinsky5T2VPipeline):
    transformer = d.Kandinsky5Transformer3DModel(
        in_visual_dim=4,
        in_text_dim=16,
        in_text_dim2=32,
        time_dim=16,
        out_visual_dim=4,
        model_dim=16,
        ff_dim=16,
        num_text_blocks=1,
        num_visual_blocks=1,
        axes_dims=(2, 2, 4),
        visual_cond=True,
    )
    vae = d.AutoencoderKLHunyuanVideo(
        latent_channels=4,
        block_out_channels=(8, 8, 8, 8),
        layers_per_block=1,
        norm_num_groups=2,
        mid_block_add_attention=False,
    )
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2}
    config = t.Qwen2_5_VLConfig(
        text_config=_qwen_text_config().to_dict(),
        vision_config={**vision, "out_hidden_size": 16, "fullatt_block_indexes": [0]},
        image_token_id=257,
        video_token_id=258,
    )
    pipe = kind(
        transformer=transformer,
        vae=vae,
        text_encoder=t.Qwen2_5_VLForConditionalGeneration(config),
        tokenizer=_qwen_tokenizer(_TextOnly),
        text_encoder_2=_clip_text(),
        tokenizer_2=_clip_tokenizer(),
        scheduler=d.FlowMatchEulerDiscreteScheduler(shift=5.0),
    )
    pipe.prompt_template, pipe.prompt_template_encode_start_idx = "say {}", 2
    return pipe


def ltx(kind=d.LTXPipeline):
    transformer = d.LTXVideoTransformer3DModel(
        in_channels=8,
        out_channels=8,
        patch_size=1,
        patch_size_t=1,
        num_attention_heads=4,
        attention_head_dim=8,
        cross_attention_dim=32,
        num_layers=1,
        caption_channels=32,
    )
    vae = d.AutoencoderKLLTXVideo(
        in_channels=3,
        out_channels=3,
        latent_channels=8,
        block_out_channels=(8, 8, 8, 8),
        decoder_block_out_channels=(8, 8, 8, 8),
        layers_per_block=(1, 1, 1, 1, 1),
        decoder_layers_per_block=(1, 1, 1, 1, 1),
        spatio_temporal_scaling=(True, True, False, False),
        decoder_spatio_temporal_scaling=(True, True, False, False),
        decoder_inject_noise=(False,) * 5,
        upsample_residual=(False,) * 4,
        upsample_factor=(1,) * 4,
        timestep_conditioning=False,
        patch_size=1,
        patch_size_t=1,
        encoder_causal=True,
        decoder_causal=False,
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    return kind(
        scheduler=d.FlowMatchEulerDiscreteScheduler(),
        vae=vae,
        text_encoder=_t5(),
        tokenizer=_t5_tokenizer(),
        transformer=transformer,
    )


def ltx2():
    """Video with sound: no part of ``VIDEO`` or ``AUDIO``."""
    sizes = {"vocab_size": 512, "hidden_size": 16, "intermediate_size": 16, "head_dim": 8}
    sizes |= {"num_attention_heads": 2, "num_key_value_heads": 2, "num_hidden_layers": 2}
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    vision |= {"num_attention_heads": 2, "image_size": 8, "patch_size": 4}
    text = t.Gemma3Config(text_config=sizes, vision_config=vision, mm_tokens_per_image=4)
    transformer = d.LTX2VideoTransformer3DModel(
        in_channels=4,
        out_channels=4,
        num_attention_heads=2,
        attention_head_dim=8,
        cross_attention_dim=16,
        audio_in_channels=4,
        audio_out_channels=4,
        audio_num_attention_heads=2,
        audio_attention_head_dim=4,
        audio_cross_attention_dim=8,
        num_layers=2,
        caption_channels=16,
        rope_double_precision=False,
        vae_scale_factors=(4, 4, 4),
    )
    heads = {f"{side}_connector_num_attention_heads": 4 for side in ("video", "audio")}
    heads |= {f"{side}_connector_attention_head_dim": 4 for side in ("video", "audio")}
    heads |= {f"{side}_connector_num_layers": 1 for side in ("video", "audio")}
    heads |= {f"{side}_connector_num_learnable_registers": 8 for side in ("video", "audio")}
    scaling = {
        "spatio_temporal_scaling": (True,) * 2,
        "decoder_spatio_temporal_scaling": (True,) * 2,
    }
    kinds = {"downsample_type": ("spatiotemporal",) * 2, "upsample_type": ("spatiotemporal",) * 2}
    vae = d.AutoencoderKLLTX2Video(
        latent_channels=4,
        block_out_channels=(8, 8),
        down_block_types=("LTX2VideoDownBlock3D",) * 2,
        decoder_block_out_channels=(8, 8),
        layers_per_block=(1,) * 3,
        decoder_layers_per_block=(1,) * 3,
        decoder_inject_noise=(False,) * 3,
        upsample_residual=(False,) * 2,
        upsample_factor=(1,) * 2,
        patch_size=1,
        patch_size_t=1,
        **scaling,
        **kinds,
    )
    vae.use_framewise_encoding = vae.use_framewise_decoding = False
    audio_vae = d.AutoencoderKLLTX2Audio(
        base_channels=4, ch_mult=(1, 1, 1), num_res_blocks=1, latent_channels=2, mel_bins=8
    )
    for part in (vae, audio_vae):
        part.latents_mean += 0.3 * torch.randn(part.latents_mean.shape)
        part.latents_std *= 1.7
    return d.LTX2Pipeline(
        scheduler=d.FlowMatchEulerDiscreteScheduler(use_dynamic_shifting=True),
        vae=vae,
        audio_vae=audio_vae,
        text_encoder=t.Gemma3ForConditionalGeneration(text),
        tokenizer=_gemma_tokenizer(),
        connectors=LTX2TextConnectors(
            caption_channels=16,
            text_proj_in_factor=3,
            connector_rope_base_seq_len=32,
            rope_double_precision=False,
            **heads,
        ),
        transformer=transformer,
        vocoder=LTX2Vocoder(
            in_channels=16,
            hidden_channels=32,
            upsample_kernel_sizes=[16, 20],
            upsample_factors=[8, 10],
            resnet_kernel_sizes=[3],
            resnet_dilations=[[1, 3, 5]],
            output_sampling_rate=8000,
        ),
    )


_TINY = {"height": 8, "width": 8, "num_frames": 3}
_SMALL = {"height": 16, "width": 16, "num_frames": 5}
_SMALL9 = {"height": 16, "width": 16, "num_frames": 9}
_GUIDED = {"negative_prompt": "", "guidance_scale": 2.5}
_WAN = {**_SMALL9, **_GUIDED, "max_sequence_length": 16}
_LTX = {**_WAN, "height": 32, "width": 32}


def _image(side):
    return torch.rand(1, 3, side, side, generator=torch.Generator().manual_seed(0))


def ltx_i2v():
    return ltx(d.LTXImageToVideoPipeline)


def kandinsky5_i2v():
    return kandinsky5(d.Kandinsky5I2VPipeline)


VIDEO = {
    "wan": (wan, _WAN),
    "wan 2.2": (wan_experts, {**_WAN, "guidance_scale_2": 3.5}),
    "wan 2.2 5B": (wan_5b, _WAN),
    "wan i2v": (wan_i2v, {**_WAN, "image": torch.zeros(1, 3, 16, 16)}),
    "hunyuan 1.5": (hunyuan, {**_SMALL, "negative_prompt": ""}),
    "ltx": (ltx, _LTX),
    "ltx i2v": (ltx_i2v, {**_LTX, "image": _image(32)}),
    "cogvideox": (cogvideox, {**_SMALL9, **_GUIDED, "max_sequence_length": 16}),
    "cogvideox dpm": (cogvideox_dpm, {**_SMALL9, **_GUIDED, "max_sequence_length": 16}),
    "kandinsky 5": (kandinsky5, {**_SMALL, **_GUIDED, "max_sequence_length": 16}),
    # its decoder reads the fifth latent step on
    "kandinsky 5 i2v": (kandinsky5_i2v, {**_WAN, "num_frames": 21, "image": _image(16)}),
    "animatediff": (animatediff, {**_TINY, **_GUIDED}),
    "text-to-video": (text_to_video, {**_TINY, **_GUIDED}),
}
JOINT = {
    "ltx-2": (
        ltx2,
        {
            **_LTX,
            "num_frames": 5,
            "modality_scale": 1.5,
            "audio_guidance_scale": 3.0,
            "audio_modality_scale": 1.5,
            "spatio_temporal_guidance_blocks": [1],
        },
    ),
}
AUDIO = {
    "stable audio 3": (stable_audio_3, {"duration": 2.0, **_GUIDED}),
    "stable audio": (stable_audio, {"audio_end_in_s": 1.0, **_GUIDED}),
    "audioldm": (audioldm, {"audio_length_in_s": 0.16, **_GUIDED}),
    "audioldm2": (audioldm2, {"audio_length_in_s": 0.16, **_GUIDED}),
    "ace-step": (ace_step, {"audio_duration": 2.0, "guidance_scale": 1.0}),
    "longcat": (longcat, {"audio_duration_s": 2.0, **_GUIDED}),
}


def build(name):
    """The pipeline of that name, its networks in evaluation mode, and the arguments of a call."""
    make, call = {**VIDEO, **AUDIO, **JOINT}[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        pipe = make()
        for part in pipe.components.values():
            if isinstance(part, torch.nn.Module):
                part.eval().requires_grad_(requires_grad=False)
                # what begins at zero would ignore prompts and levels
                for parameter in part.parameters():
                    if not parameter.any():
                        torch.nn.init.normal_(parameter, std=0.1)
    pipe.set_progress_bar_config(disable=True)
    return pipe, {**_PROMPT, **call}
