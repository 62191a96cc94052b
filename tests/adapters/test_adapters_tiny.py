"""Pipelines of the presets at a size that loads and runs at once: real classes, random weights."""

import functools
from fractions import Fraction

import numpy as np
import pytest
import torch
from diffusers import (
    AudioLDM2UNet2DConditionModel,
    AutoencoderKL,
    DDIMScheduler,
    MotionAdapter,
    UNet2DConditionModel,
    UNet3DConditionModel,
)
from diffusers.pipelines.audioldm2 import AudioLDM2ProjectionModel
from transformers import (
    ClapAudioConfig,
    ClapConfig,
    ClapModel,
    ClapTextConfig,
    ClapTextModelWithProjection,
    CLIPTextConfig,
    CLIPTextModel,
    CLIPTokenizer,
    GPT2Config,
    GPT2LMHeadModel,
    RobertaTokenizer,
    SpeechT5HifiGan,
    SpeechT5HifiGanConfig,
    T5Config,
    T5EncoderModel,
    T5Tokenizer,
)
from transformers.convert_slow_tokenizer import bytes_to_unicode

from mmdisco.adapters import components
from mmdisco.adapters.checkpoint import Checkpoint
from mmdisco.adapters.device import CPU
from mmdisco.adapters.stock.pretrained import (
    assemble_pipeline,
    load_pipeline,
    unguided_audio,
    unguided_video,
)
from mmdisco.adapters.videocrafter2.codec import VideoSpec
from mmdisco.media.clip import Audio, Video

BYTES = list(bytes_to_unicode().values())
LETTERS = [chr(code) for code in range(33, 127)]
PICTURE = VideoSpec(16, 24, Fraction(8))
# the tiny vocoder makes 4 samples a column and the autoencoder 1 step of 2 columns
STEPS_PER_SECOND = 2000
SECONDS = {"audio": 0.08, "video": 0.5}


def scheduler(prediction_type="epsilon", **options):
    settings = {"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}
    return DDIMScheduler(
        **settings | options, prediction_type=prediction_type, clip_sample=False, steps_offset=1
    )


def autoencoder(channels):
    return AutoencoderKL(
        in_channels=channels,
        out_channels=channels,
        block_out_channels=(16, 32),
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        norm_num_groups=8,
        scaling_factor=0.5,
    )


def vocoder():
    network = SpeechT5HifiGan(
        SpeechT5HifiGanConfig(
            model_in_dim=8,
            upsample_initial_channel=16,
            upsample_rates=[2, 2],
            upsample_kernel_sizes=[4, 4],
            resblock_kernel_sizes=[3],
            resblock_dilation_sizes=[[1, 3]],
            normalize_before=False,
        )
    )
    return awake(network)[0]


def clap_config():
    return ClapTextConfig(
        hidden_size=16,
        intermediate_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=300,
        projection_dim=12,
        max_position_embeddings=80,
    )


def clap():
    return ClapTextModelWithProjection(clap_config())


def whole_clap():
    sounds = ClapAudioConfig(
        hidden_size=16, depths=[1], num_attention_heads=[1], num_hidden_layers=1, projection_dim=12
    )
    both = {"text_config": clap_config().to_dict(), "audio_config": sounds.to_dict()}
    return ClapModel(ClapConfig(**both, projection_dim=12))


def roberta_tokenizer():
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary = {token: i for i, token in enumerate(special + BYTES)}
    return RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def clip(width=20):
    config = CLIPTextConfig(
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
        hidden_size=width,
        intermediate_size=24,
        num_attention_heads=2,
        num_hidden_layers=2,
        vocab_size=600,
    )
    return CLIPTextModel(config)


def clip_tokenizer():
    tokens = ["<|startoftext|>", "<|endoftext|>", *BYTES, *(f"{one}</w>" for one in BYTES)]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77)


def audioldm_unet():
    return UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=(16, 32),
        attention_head_dim=4,
        norm_num_groups=8,
        class_embed_type="simple_projection",
        projection_class_embeddings_input_dim=12,
        class_embeddings_concat=True,
    )


def image_unet():
    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=20,
        attention_head_dim=4,
        norm_num_groups=8,
    )


def motion_adapter(widths=(16, 32)):
    return MotionAdapter(
        block_out_channels=widths,
        motion_layers_per_block=1,
        motion_num_attention_heads=2,
        motion_norm_num_groups=8,
        motion_max_seq_length=12,
    )


def awake(*networks):
    """The networks with every parameter drawn anew, so that nothing that begins at 0 is silent."""
    for network in networks:
        for parameter in network.parameters():
            if parameter.ndim > 1:
                torch.nn.init.normal_(parameter, std=0.2 / parameter[0].numel() ** 0.25)
    return networks


def audioldm_parts(prediction_type="epsilon"):
    torch.manual_seed(0)
    unet, vae, text = awake(audioldm_unet(), autoencoder(1), clap())
    return {
        "unet": unet,
        "vae": vae,
        "vocoder": vocoder(),
        "text_encoder": text,
        "tokenizer": roberta_tokenizer(),
        "scheduler": scheduler(prediction_type),
    }


def audioldm2_parts(prediction_type="epsilon"):
    torch.manual_seed(0)
    unet = AudioLDM2UNet2DConditionModel(
        sample_size=16,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=8,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=([None, 16, 20], [None, 16, 20]),
        attention_head_dim=4,
    )
    t5 = T5EncoderModel(
        T5Config(vocab_size=128, d_model=20, d_ff=24, d_kv=8, num_heads=2, num_layers=2)
    )
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), ("▁", -2.0)]
    vocabulary = [*pieces, *((letter, -3.0) for letter in LETTERS)]
    sizes = {"n_embd": 16, "n_head": 2, "n_layer": 2, "vocab_size": 8, "n_positions": 160}
    gpt = GPT2LMHeadModel(GPT2Config(**sizes))
    gpt.config.max_new_tokens = 5
    unet, vae, text, gpt = awake(unet, autoencoder(1), whole_clap(), gpt)
    return {
        "unet": unet,
        "vae": vae,
        "vocoder": vocoder(),
        "text_encoder": text,
        "text_encoder_2": t5,
        "projection_model": AudioLDM2ProjectionModel(12, 20, 16),
        "language_model": gpt,
        "tokenizer": roberta_tokenizer(),
        "tokenizer_2": T5Tokenizer(vocab=vocabulary, model_max_length=100),
        "scheduler": scheduler(prediction_type),
    }


def animatediff_parts(prediction_type="epsilon"):
    torch.manual_seed(0)
    unet, motion, vae, text = awake(image_unet(), motion_adapter(), autoencoder(3), clip())
    return {
        "unet": unet,
        "motion_adapter": motion,
        "vae": vae,
        "text_encoder": text,
        "tokenizer": clip_tokenizer(),
        "scheduler": scheduler(prediction_type),
    }


def text_to_video_parts(prediction_type="epsilon"):
    torch.manual_seed(0)
    unet = UNet3DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"),
        up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"),
        cross_attention_dim=20,
        attention_head_dim=4,
        norm_num_groups=8,
    )
    unet, vae, text = awake(unet, autoencoder(3), clip())
    return {
        "unet": unet,
        "vae": vae,
        "text_encoder": text,
        "tokenizer": clip_tokenizer(),
        "scheduler": scheduler(prediction_type),
    }


PIPELINES = {
    "audioldm": ("AudioLDMPipeline", audioldm_parts, components.AUDIOLDM),
    "audioldm2": ("AudioLDM2Pipeline", audioldm2_parts, components.AUDIOLDM2),
    "animatediff": ("AnimateDiffPipeline", animatediff_parts, components.IMAGE_MODEL),
    "text-to-video": ("TextToVideoSDPipeline", text_to_video_parts, components.IMAGE_MODEL),
}


def wrapped(name, pipe, picture=PICTURE):
    if modality(name) == "audio":
        return unguided_audio(pipe)
    return unguided_video(pipe, (picture.height, picture.width), picture.fps)


def model_of(name, prediction_type="epsilon", runtime=CPU, picture=PICTURE, **others):
    kind, parts, _ = PIPELINES[name]
    pipe = assemble_pipeline(kind, {**parts(prediction_type), **others}, runtime)
    return wrapped(name, pipe, picture)


audioldm, audioldm2, animatediff, text_to_video = (
    functools.partial(model_of, name) for name in PIPELINES
)


def save(name, folder):
    """A checkpoint as it is published; a motion adapter lies beside the image model's parts."""
    for part, one in PIPELINES[name][1]().items():
        one.save_pretrained(folder / part)
    return folder


def load(name, folder, dtype=torch.float32, home="https://huggingface.co/some/model", motion=None):
    kind, _, files = PIPELINES[name]
    sources = [(Checkpoint(folder, home, dtype), files)]
    if name == "animatediff":
        adapter = Checkpoint(motion or folder / "motion_adapter", f"{home}-motion", dtype)
        sources.append((adapter, (components.MOTION_ADAPTER,)))
    return wrapped(name, load_pipeline(kind, sources))


BUILDERS = {
    "audioldm": audioldm,
    "audioldm2": audioldm2,
    "animatediff": animatediff,
    "text-to-video": text_to_video,
}


def modality(name):
    return "audio" if name.startswith("audioldm") else "video"


def sounds(count, samples=1280):
    random = np.random.default_rng(0)
    return [
        Audio(random.uniform(-0.3, 0.3, samples).astype(np.float32), 16_000) for _ in range(count)
    ]


def videos(count, frames=4, picture=PICTURE):
    random = np.random.default_rng(0)
    shape = (frames, picture.height, picture.width, 3)
    return [Video(random.random(shape, np.float32), picture.fps) for _ in range(count)]


def clips(name, count):
    return sounds(count) if modality(name) == "audio" else videos(count)


def networks(model):
    return [one for one in model.pipe.components.values() if isinstance(one, torch.nn.Module)]


@pytest.mark.parametrize("name", BUILDERS)
def test_tiny_models_are_tiny(name):
    assert sum(p.numel() for one in networks(BUILDERS[name]()) for p in one.parameters()) < 2e6
