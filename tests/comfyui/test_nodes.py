"""Nodes of the pack, executed: lengths, joint latents, given sides, guidance, scores."""

import pytest
import torch
from closeness import assert_close
from fakecomfy import NestedTensor
from fakemodels import CONST, TEXT, Agreement, AudioVAE, Model, ModelPatcher, VideoVAE

from mmdisco import AV, UserError
from mmdisco.discriminators.convolutions import VideoLatents, WaveformLatents
from mmdisco.discriminators.fusion import PooledFusionConfig
from mmdisco.discriminators.hub import PretrainedDiscriminator
from mmdisco.discriminators.two_tower import AudioVideoConfig, AudioVideoDiscriminator

VAES = {"video_vae": VideoVAE(), "audio_vae": AudioVAE()}


@pytest.fixture(autouse=True)
def inference_mode(inference):
    """As ComfyUI executes nodes."""


@pytest.fixture
def run(pack):
    """Execute a node by its id; its defaults fill in what is not given."""
    nodes = {node.define_schema().node_id: node for node in pack.NODES}

    def execute(node_id, /, **inputs):
        node = nodes[f"MMDisCo{node_id}"]
        defaults = {
            one.id: one.default for one in node.define_schema().inputs if hasattr(one, "default")
        }
        return node.execute(**{**defaults, **inputs}).result

    return execute


def empty(run, **facts):
    (latent,) = run(
        "EmptyVideoAudio",
        **{**VAES, "width": 32, "height": 16, "frames": 9, "seconds": 9 / 16, **facts},
    )
    return latent


def clip(frames=9, seconds=9 / 16, rate=16000):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(frames, 16, 32, 3, generator=generator)
    waveform = torch.rand(1, 2, round(seconds * rate), generator=generator) - 0.5
    return images, {"waveform": waveform, "sample_rate": rate}


def test_lengths_are_those_that_the_video_can_have(run):
    assert run("MatchLengths", **VAES, seconds=5.0, fps=16.0) == (81, 81 / 16, 81000)
    assert run("MatchLengths", **VAES, seconds=0.01, fps=16.0)[0] == 1
    assert run("MatchLengths", **VAES, seconds=11.6 / 16, fps=16.0)[0] == 13


def test_empty_latents_are_those_of_an_encoded_clip(run):
    latent = empty(run, batch_size=2)
    video, audio = latent["samples"].unbind()
    assert not video.any()
    assert not audio.any()
    images, sound = clip()
    (encoded,) = run("EncodeVideoAudio", images=images, audio=sound, **VAES, fps=16.0)
    for own, other in zip(encoded["samples"].unbind(), (video, audio), strict=True):
        assert own.shape[1:] == other.shape[1:]
        assert len(other) == 2


def test_split_is_the_inverse_of_join_with_its_masks(run):
    video, audio = empty(run)["samples"].unbind()
    mask = torch.zeros(1, 1, *video.shape[2:])
    (latent,) = run(
        "JoinVideoAudio", video={"samples": video, "noise_mask": mask}, audio={"samples": audio}
    )
    shown, heard = run("SplitVideoAudio", latent=latent)
    assert shown["samples"] is video
    assert heard["samples"] is audio
    assert torch.equal(shown["noise_mask"], mask)
    assert heard["noise_mask"].all()


def test_a_clip_is_encoded_and_decoded(run):
    images, sound = clip(rate=8000)
    (latent,) = run("EncodeVideoAudio", images=images, audio=sound, **VAES, fps=16.0)
    shown, heard = run("DecodeVideoAudio", latent=latent, **VAES)
    assert shown.shape == images.shape
    assert heard["sample_rate"] == 16000
    assert heard["waveform"].shape[1:] == (2, latent["samples"].unbind()[1].shape[2] * 400)
    loud = NestedTensor([latent["samples"].unbind()[0], 4 * latent["samples"].unbind()[1]])
    _, heard = run("DecodeVideoAudio", latent={"samples": loud}, **VAES)
    assert_close(heard["waveform"].abs().max(), torch.tensor(10 ** (-1 / 20)))


def test_a_given_video_is_masked_and_fitted(run):
    images, _ = clip(frames=6)
    latent = empty(run, batch_size=2)
    (given,) = run("GivenVideo", images=images, video_vae=VideoVAE(), latent=latent)
    video, audio = given["samples"].unbind()
    held = torch.cat([images, images[-1:].expand(3, -1, -1, -1)])
    assert_close(video, VideoVAE().encode(held).expand(2, -1, -1, -1, -1))
    shown, heard = given["noise_mask"].unbind()
    assert not shown.any()
    assert heard.all()
    assert audio is latent["samples"].unbind()[1]


def test_a_given_sound_is_masked_and_fitted(run):
    _, sound = clip(seconds=0.25)
    (given,) = run(
        "GivenAudio", audio=sound, audio_vae=AudioVAE(), latent=empty(run), seconds=9 / 16
    )
    audio = given["samples"].unbind()[1]
    steps = AudioVAE().encode(sound["waveform"].movedim(1, -1)).shape[2]
    assert audio[:, :, :steps].any()
    assert not audio[:, :, steps:].any()
    shown, heard = given["noise_mask"].unbind()
    assert shown.all()
    assert not heard.any()


@pytest.fixture
def guider(pack):
    models = AV(Model(CONST(), 0.5, 0.1), Model(CONST(), 2.0, -0.3)).map(ModelPatcher)
    cond = [(torch.ones(1, 3, TEXT), {})]
    side = pack.guider.SideGuidance()
    conds = AV((cond, cond), (cond, cond))
    return pack.guider.JointGuider(models, conds, AV(side, side), Agreement())


def test_scores_rank_a_batch_and_the_best_are_kept(run, guider):
    generator = torch.Generator().manual_seed(1)
    video = torch.randn(3, 3, 3, 2, 4, generator=generator)
    audio = torch.randn(3, 5, 23, generator=generator)
    latent = {"samples": NestedTensor([video, audio])}
    scores, ranking = run("AlignmentScore", guider=guider, latent=latent)
    order = sorted(range(3), key=lambda row: -scores[row])
    assert [int(line.split(":")[0]) for line in ranking.splitlines()] == order
    assert len(set(scores)) == 3
    (kept,) = run("BestOfBatch", guider=guider, latent=latent, count=2)
    assert torch.equal(kept["samples"].unbind()[0], video[order[:2]])
    assert torch.equal(kept["samples"].unbind()[1], audio[order[:2]])
    single = {"samples": NestedTensor([video[1:2], audio[1:2]])}
    assert run("AlignmentScore", guider=guider, latent=single)[0] == pytest.approx([scores[1]])


def test_a_discriminator_is_loaded_by_the_name_of_its_folder(run, models_dir, guider):
    config = AudioVideoConfig(
        WaveformLatents(5, 40.0, TEXT), VideoLatents(3, 4.0), 8, 1, (1,), PooledFusionConfig()
    )
    folder = models_dir / "mmdisco" / "tiny"
    with torch.inference_mode(mode=False):
        PretrainedDiscriminator(AudioVideoDiscriminator(config), "x").save(folder)
    (discriminator,) = run("LoadDiscriminator", name="tiny")
    guider.discriminator = discriminator
    latent = {"samples": NestedTensor([torch.ones(1, 3, 3, 2, 4), torch.ones(1, 5, 23)])}
    (scores, _) = run("AlignmentScore", guider=guider, latent=latent)
    assert len(scores) == 1
    other = {"samples": NestedTensor([torch.ones(1, 4, 3, 2, 4), torch.ones(1, 5, 23)])}
    with pytest.raises(UserError, match="makes video latents of"):
        run("AlignmentScore", guider=guider, latent=other)
    with pytest.raises(UserError, match="has no folder 'none'"):
        run("LoadDiscriminator", name="none")


def test_the_guider_has_the_parameters_of_either_side(pack, run, guider):
    (video,) = run("GuidanceParameters", modality="video", joint_scale=2.0, cfg=4.0)
    (both,) = run(
        "GuidanceParameters", modality="audio", joint_scale=0.5, end_percent=0.5, other=video
    )
    cond = [(torch.ones(1, 3, TEXT), {})]
    sides = ("video_positive", "video_negative", "audio_positive", "audio_negative")
    models = {"video_model": guider.model_patcher, "audio_model": guider.audio.model_patcher}
    (made,) = run("JointGuider", **models, **dict.fromkeys(sides, cond), parameters=both)
    assert isinstance(made, pack.guider.JointGuider)
    side = pack.guider.SideGuidance
    assert made.guidance == AV(side(0.5, 5.0, 0.0, 0.5), side(2.0, 4.0))
    assert (made.cfg, made.audio.cfg) == (4.0, 5.0)
    with pytest.raises(UserError, match="two sets of parameters for the video"):
        run("GuidanceParameters", modality="video", other=both)
    with pytest.raises(UserError, match="ends before it begins"):
        run("GuidanceParameters", modality="video", start_percent=0.5, end_percent=0.5)


def test_mistakes_are_said_in_one_line(run, guider):
    latent = empty(run)
    video, _ = latent["samples"].unbind()
    with pytest.raises(UserError, match="10 frames: this autoencoder makes 9 or 13"):
        empty(run, frames=10)
    with pytest.raises(UserError, match="give multiples of 8"):
        empty(run, width=33)
    with pytest.raises(UserError, match="a latent of one modality"):
        run("SplitVideoAudio", latent={"samples": video})
    with pytest.raises(UserError, match="joint already"):
        run("JoinVideoAudio", video=latent, audio=latent)
    with pytest.raises(UserError, match="the given sound has latents of"):
        run("GivenAudio", audio=clip()[1], audio_vae=AudioVAE(), latent=latent, seconds=1.0)
    with pytest.raises(UserError, match="the video has no audio track"):
        run("GivenAudio", audio=None, audio_vae=AudioVAE(), latent=latent, seconds=1.0)
    with pytest.raises(UserError, match="the best 2 of 1 clips"):
        run("BestOfBatch", guider=guider, latent=latent, count=2)
    with pytest.raises(UserError, match="connect a Joint Guider"):
        run("BestOfBatch", guider=object(), latent=latent)
    guider.discriminator = None
    with pytest.raises(UserError, match="no discriminator to score with"):
        run("AlignmentScore", guider=guider, latent=latent)
