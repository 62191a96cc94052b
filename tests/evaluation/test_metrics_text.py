"""Agreement with prompts: by vectors made by hand, and through tiny CLIP and CLAP."""

import json

import numpy as np
import pytest
import torch
from closeness import assert_close
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    ClapProcessor,
    ClapTextModelWithProjection,
    CLIPConfig,
    CLIPModel,
    CLIPTextModelWithProjection,
    CLIPTokenizer,
    RobertaTokenizer,
)
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

from mmdisco.cli.evaluate import execute
from mmdisco.errors import UserError
from mmdisco.evaluation.config import EvaluationConfig
from mmdisco.evaluation.metrics.base import EvaluationData
from mmdisco.evaluation.metrics.clip_clap_videomae import ClapSound, ClipFrames, TextNetwork
from mmdisco.evaluation.metrics.features import InMemory
from mmdisco.evaluation.metrics.joint_space import TextAgreement, TextScorer
from mmdisco.evaluation.metrics.result import MetricResult, Skipped
from mmdisco.media.sounding_objects.dataset import example
from mmdisco.media.write import write_clip

BYTES = ByteLevel.alphabet()
SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TEXTS = ["a red ball", "a drum", "two bells far away"]


class ByHand(TextScorer):
    def directions(self, texts):
        return np.stack([np.eye(4)[len(text)] for text in texts])


def readings(prompts):
    clips = [np.eye(4)[len(text)] if text else np.zeros(4) for text in prompts]
    kept = [{"direction": 0.5 * one} for one in clips]
    return InMemory([str(k) for k in range(len(kept))], {"clip": kept}, prompts)


def test_own_prompts_agree_and_exchanged_ones_do_not():
    (found,) = TextAgreement("clip", ByHand()).measure(
        EvaluationData(readings(["a", "bb", "ccc"] * 8))
    )
    assert isinstance(found, MetricResult)
    assert found.value == pytest.approx(0.5)
    assert found.count == 24
    assert found.baseline["shuffled"] < 0.25
    assert "3 different prompts" in found.notes


def test_clips_without_a_prompt_are_left_out_and_too_few_are_said():
    (found,) = TextAgreement("clip", ByHand()).measure(
        EvaluationData(readings(["a", None, "bb"] * 5))
    )
    assert isinstance(found, MetricResult)
    assert found.count == 10
    (found,) = TextAgreement("clip", ByHand()).measure(
        EvaluationData(readings(["a", None, None] * 5))
    )
    assert isinstance(found, Skipped)
    assert found.needs == "10 clips with a prompt in the JSON beside them, not 5"


def test_one_prompt_for_all_has_nothing_to_exchange():
    (found,) = TextAgreement("clip", ByHand()).measure(EvaluationData(readings(["a"] * 12)))
    assert isinstance(found, MetricResult)
    assert "nothing to exchange" in found.notes
    assert not np.isfinite(found.baseline["z"])


@pytest.fixture(scope="module")
def clip_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    tokens = ["<|startoftext|>", "<|endoftext|>", *BYTES, *(f"{one}</w>" for one in BYTES)]
    ids = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
    some = {**SMALL, "intermediate_size": 16, "projection_dim": 8}
    torch.manual_seed(0)
    config = CLIPConfig(
        text_config={**some, **ids, "vocab_size": 600},
        vision_config={**some, "image_size": 64, "patch_size": 32},
        projection_dim=8,
    )
    CLIPModel(config).save_pretrained(folder)
    vocabulary = {token: i for i, token in enumerate(tokens)}
    CLIPTokenizer(vocab=vocabulary, merges=[], model_max_length=77).save_pretrained(folder)
    sizes = {"size": {"shortest_edge": 64}, "crop_size": {"height": 64, "width": 64}}
    CLIPImageProcessorPil(**sizes).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def clap_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clap")
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    torch.manual_seed(0)
    config = ClapConfig(
        text_config={**SMALL, "intermediate_size": 24, "vocab_size": 300, "projection_dim": 8},
        audio_config={
            "spec_size": 64,
            "num_mel_bins": 16,
            "window_size": 2,
            "patch_embeds_hidden_size": 8,
            "hidden_size": 16,
            "depths": [1, 1],
            "num_attention_heads": [1, 1],
            "projection_dim": 8,
            "enable_fusion": False,
        },
        projection_dim=8,
    )
    ClapModel(config).save_pretrained(folder)
    vocabulary = {token: i for i, token in enumerate(special + BYTES)}
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=[], model_max_length=77)
    features = ClapFeatureExtractor(
        feature_size=16, max_length_s=2, truncation="rand_trunc", padding="repeatpad"
    )
    ClapProcessor(features, tokenizer).save_pretrained(folder)
    return str(folder)


def test_cosines_with_clip_are_the_librarys_own(clip_folder):
    clip = example(0, 0).clip
    reader, tower = (
        ClipFrames.load(clip_folder),
        TextNetwork.load(CLIPTextModelWithProjection, clip_folder),
    )
    found = tower.directions(TEXTS) @ reader.read(clip)["direction"]
    model = CLIPModel.from_pretrained(clip_folder).eval()
    frames = [np.round(frame * 255).astype(np.uint8) for frame in clip.video.frames]
    pixels = reader.processor(images=frames, return_tensors="pt")["pixel_values"]
    inputs = tower.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        out = model(pixel_values=pixels, **inputs)
    wanted = (out.logits_per_text / model.logit_scale.exp()).mean(1)
    assert_close(found, wanted.detach().numpy(), rtol=1e-4)


def test_cosines_with_clap_are_the_librarys_own(clap_folder):
    clip = example(0, 0).clip
    reader, tower = (
        ClapSound.load(clap_folder),
        TextNetwork.load(ClapTextModelWithProjection, clap_folder),
    )
    found = tower.directions(TEXTS)
    record = reader.read(clip)
    assert_close(np.linalg.norm(record["direction"]), 1.0, rtol=1e-4)
    model = ClapModel.from_pretrained(clap_folder).eval()
    inputs = tower.tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        text = model.get_text_features(**inputs)
    text = getattr(text, "pooler_output", text)
    wanted = torch.nn.functional.normalize(text, dim=1)
    assert_close(found, wanted.numpy(), rtol=1e-4)


def test_evaluate_reads_prompts_from_the_records_beside_the_clips(clip_folder, tmp_path):
    for k in range(12):
        write_clip(tmp_path / "made" / f"{k:02}.mp4", example(0, k).clip)
        record = {"prompt": TEXTS[k % 3]} if k else {"seed": 0}
        (tmp_path / "made" / f"{k:02}.json").write_text(json.dumps(record))
    options = EvaluationConfig(
        generated=tmp_path / "made",
        metrics=("text",),
        features=(f"clip:{clip_folder}",),
        json_file=tmp_path / "r.json",
        jobs=1,
        cache=tmp_path / "cache",
    )
    execute(options)
    record = json.loads((tmp_path / "r.json").read_text())
    (figure,) = record["metrics"]
    assert figure["metric"] == "text agreement, clip"
    assert figure["count"] == 11
    assert -1 <= figure["value"] <= 1


def test_text_without_a_network_of_texts_is_one_clear_line(tmp_path):
    write_clip(tmp_path / "made" / "0.mp4", example(0, 0).clip)
    options = EvaluationConfig(
        generated=tmp_path / "made", metrics=("text",), jobs=1, cache=tmp_path / "cache"
    )
    with pytest.raises(UserError, match="'text' needs --features clip:MODEL or clap:MODEL"):
        execute(options)
