import json
import shutil
import subprocess
import sys
from collections import deque
from fractions import Fraction

import numpy as np
import pytest
import torch
from closeness import assert_close, is_close
from diffusers import DDPMScheduler
from test_presets_tiny import JOINT, TINY, tiny_weights

from mmdisco.adapters.mmdiffusion.sampling import AtTrainedTimes
from mmdisco.cli import main
from mmdisco.core.av import AV
from mmdisco.core.coupling import SameTimestep
from mmdisco.core.denoiser import IndependentModels
from mmdisco.core.guidance import ClassifierFreeGuidance, JointGuidance
from mmdisco.core.noise import scaled_linear
from mmdisco.discriminators.wrappers import ClampedLogit
from mmdisco.errors import UserError
from mmdisco.generation.config import GenerateConfig, SystemConfig
from mmdisco.generation.generate import prepare
from mmdisco.generation.pipeline import VideoToAudio
from mmdisco.generation.presets.official_release import ReleasedTime, TrailingSpacing
from mmdisco.generation.presets.registry import PRESETS, preset
from mmdisco.generation.presets.text_pairs import TextPreset
from mmdisco.generation.resolve import check, resolve
from mmdisco.media.clip import Audio, AudioVideo, Video
from mmdisco.media.read import read_clip
from mmdisco.media.write import write_clip

assert tiny_weights  # the fixture


@pytest.fixture(scope="module")
def pair(tiny_weights):
    return TINY.pair(SystemConfig(weights=tiny_weights))


def prepared_of(pair, prompt=None, **options):
    config = resolve(GenerateConfig(prompt=prompt, **options), pair)
    check(config, pair)
    return prepare(config, pair)


def notices(pair, prompt=None, **options):
    return check(resolve(GenerateConfig(prompt=prompt, **options), pair), pair)


def made(pair, prompt, **options):
    prepared = prepared_of(pair, prompt, **options)
    return prepared, deque(prepared.run(), maxlen=1).pop()


def latents(pair, prompt="rain", **options):
    return made(pair, prompt, **options)[1]


def test_a_published_discriminator_chooses_among_candidates(pair):
    prepared, z_0 = made(pair, "rain", candidates=2)
    selection = prepared.select(z_0)
    assert selection.logits is not None
    ((first, second),) = selection.logits
    assert first != second
    assert equal(selection.z_0, z_0.map(lambda one: one[[int(second > first)]]))
    assert len(selection.clips()) == 1


# of a whole run's largest latent: rounding alone moves some by 3e-6
ROUNDING = 3e-5


def equal(one, other, rtol=0.0):
    return is_close(one.audio, other.audio, rtol) and is_close(one.video, other.video, rtol)


@pytest.fixture(scope="module")
def usual(pair):
    return latents(pair)


@pytest.fixture
def film(tmp_path):
    random = np.random.default_rng(0)
    sound = random.uniform(-0.5, 0.5, 24_000).astype(np.float32)
    frames = random.random((16, 32, 48, 3), np.float32)
    write_clip(tmp_path / "film.mp4", AudioVideo(Audio(sound, 48_000), Video(frames, Fraction(32))))
    return tmp_path / "film.mp4"


def test_a_clip_has_the_form_of_the_preset(pair):
    prepared, z_0 = made(pair, "rain")
    (clip,) = prepared.select(z_0).clips()
    assert (clip.video.frames.shape, clip.video.fps) == ((2, 16, 24, 3), 8)
    assert (len(clip.audio.waveform), clip.audio.sample_rate) == (4000, 16_000)


def test_options_change_the_form(tiny_weights):
    options = SystemConfig(weights=tiny_weights, seconds=1, size=(32, 16), fps=2)
    form = TINY.pair(options).form
    assert (form.seconds, form.fps, form.size, form.frames) == (1, 2, (32, 16), 2)


def test_same_seed_is_the_same_clip_and_another_seed_another(pair, usual):
    assert equal(usual, latents(pair))
    assert not equal(usual, latents(pair, seed=1), rtol=0.1)


def test_a_sample_does_not_depend_on_its_batch(pair, usual):
    batch = latents(pair, samples=2)
    assert equal(usual, batch.map(lambda one: one[:1]), rtol=ROUNDING)


@pytest.mark.parametrize(
    "change",
    [
        {"negative_prompt": "noise"},
        {"no_joint_guidance": True},
        {"cfg_scale_audio": 1.0},
        {"cfg_scale_video": 1.0},
        {"scheduler": "ddim"},
        {"steps": 4},
    ],
    ids=str,
)
def test_every_setting_changes_the_clip(change, pair, usual):
    assert not equal(usual, latents(pair, **change), rtol=ROUNDING)


def test_both_prompts_in_one_batch_are_the_same_clip(pair, usual):
    assert equal(usual, latents(pair, batch_cfg=True), rtol=ROUNDING)


def test_half_precision_is_nearly_the_same_clip(tiny_weights, usual):
    halves = TINY.pair(SystemConfig(weights=tiny_weights, dtype="bfloat16"))
    other = latents(halves)
    assert not equal(usual, other)
    assert (usual.video - other.video).abs().mean() < 0.2 * usual.video.abs().mean()


def test_one_side_is_made_for_a_given_file_without_guidance(pair, film):
    for side in ("video", "audio"):
        request = {side: film, "no_joint_guidance": True}
        prepared, z_0 = made(pair, "rain", **request)
        (clip,) = prepared.select(z_0).clips()
        given = read_clip(film)
        if side == "video":
            np.testing.assert_array_equal(clip.video.frames, given.video.frames[:8])
            assert len(clip.audio.waveform) == 4000
        else:
            np.testing.assert_array_equal(clip.audio.waveform, given.audio.waveform[:12_000])
            assert clip.video.frames.shape == (2, 16, 24, 3)


@pytest.mark.parametrize("side", ["video", "audio"])
def test_a_released_discriminator_mends_the_side_that_is_made(side, pair, film):
    request = {side: film, "joint_scale": 100.0}
    _, z_0 = made(pair, "rain", **request)
    assert "judges sound and video apart" in notices(pair, "rain", **request)[0]
    _, alone = made(pair, "rain", **{side: film, "no_joint_guidance": True})
    assert torch.equal(getattr(z_0, side), getattr(alone, side))
    assert not equal(z_0, alone, rtol=1e-3)


def test_as_released_asks_at_every_step(tiny_weights):
    released = TINY.as_released().pair(SystemConfig(weights=tiny_weights))
    prepared = prepared_of(released, "rain", joint_every=2)
    with pytest.raises(UserError, match="--joint-every"):
        prepared.run()


def kinds_of(system):
    return {type(one) for one in system.discriminator().modules()}


def test_as_released_puts_joint_guidance_inside(pair, tiny_weights, usual):
    released = TINY.as_released().pair(SystemConfig(weights=tiny_weights))
    prepared, z_0 = made(released, "rain")
    denoiser = prepared.generation.denoiser()
    assert isinstance(denoiser, ClassifierFreeGuidance)
    assert isinstance(denoiser.denoiser, JointGuidance)
    assert ClampedLogit in kinds_of(released)
    assert ClampedLogit not in kinds_of(pair)
    assert not equal(usual, z_0, rtol=1e-3)


def test_released_timesteps_lead_with_an_offset_of_one():
    path = SameTimestep(AV(scaled_linear(), scaled_linear()))
    stops = ReleasedTime().stops(path, 50)
    times = path.levels(stops).audio.t
    assert_close(times, torch.arange(981, 0, -20, dtype=torch.float64))


def test_trailing_timesteps_are_those_of_the_scheduler():
    path = SameTimestep(AV(scaled_linear(), scaled_linear()))
    theirs = DDPMScheduler(timestep_spacing="trailing")
    for steps in (1, 3, 7, 50):
        theirs.set_timesteps(steps)
        times = path.levels(TrailingSpacing().stops(path, steps)).audio.t
        torch.testing.assert_close(times, theirs.timesteps.double())


def test_videocrafter2_as_released_is_sampled_at_other_levels():
    mended = preset("auffusion-videocrafter2")
    released = mended.as_released()
    assert isinstance(mended, TextPreset)
    assert isinstance(released, TextPreset)
    assert vars(mended.video)["levels"] is None
    levels = vars(released.video)["levels"]()
    assert abs(float(levels.alphas[500] ** 2) - 0.161) < 1e-3


def test_mm_diffusion_is_a_preset_without_prompts(tiny_weights, film):
    pair = JOINT.pair(SystemConfig(weights=tiny_weights))
    prepared = prepared_of(pair, steps=3)
    z_0 = deque(prepared.run(), maxlen=1).pop()
    assert prepared.select(z_0).clips()[0].video.frames.shape == (4, 8, 8, 3)
    other = made(pair, None, steps=3, seed=1)[1]
    assert not equal(z_0, other, rtol=0.1)
    released = JOINT.as_released().pair(SystemConfig(weights=tiny_weights))
    as_released = prepared_of(released, steps=3)
    assert isinstance(as_released.generation.denoiser(), AtTrainedTimes)
    assert not equal(z_0, deque(as_released.run(), maxlen=1).pop(), rtol=1e-3)
    with pytest.raises(UserError, match="reads no prompts"):
        prepared_of(pair, "rain")
    with pytest.raises(UserError, match="leave --candidates out"):
        prepared_of(pair, candidates=2)


@pytest.mark.parametrize("preset", [JOINT, JOINT.as_released()], ids=["mended", "as released"])
def test_mm_diffusion_makes_one_side_for_a_given_other(preset, tiny_weights, film):
    pair = preset.pair(SystemConfig(weights=tiny_weights))
    prepared = prepared_of(pair, video=film, steps=3)
    assert "noised along" in notices(pair, video=film, steps=3)[0]
    z_0 = deque(prepared.run(), maxlen=1).pop()
    task = prepared.generation.task
    assert isinstance(task, VideoToAudio)
    (seen,) = task.seen
    assert torch.equal(z_0.video, pair.model().encode_video([seen]))
    assert z_0.audio.isfinite().all()
    other = made(pair, None, audio=film, steps=3)[1]
    assert other.video.isfinite().all()


def test_mm_diffusion_enlarges_its_frames(tiny_weights, tmp_path):
    small, large = (
        made(JOINT.pair(SystemConfig(weights=tiny_weights, size=size)), None, steps=2, samples=2)
        for size in ((8, 8), (16, 16))
    )
    assert equal(small[1], large[1])
    clips = large[0].select(large[1]).clips()
    assert [clip.video.frames.shape for clip in clips] == [(4, 16, 16, 3)] * 2
    assert [clip.video.frames.shape[1] for clip in small[0].select(small[1]).clips()] == [8, 8]
    alone = made(
        JOINT.pair(SystemConfig(weights=tiny_weights, size=(16, 16))), None, steps=2, seed=1
    )
    (one,) = alone[0].select(alone[1]).clips()
    assert_close(one.video.frames, clips[1].video.frames, rtol=1e-3)
    with pytest.raises(UserError, match="give --size 16x16 or none"):
        JOINT.pair(SystemConfig(weights=tiny_weights, size=(32, 32)))
    with pytest.raises(UserError, match=r"tiny_SR.pt"):
        prepared_of(JOINT.pair(SystemConfig(weights=tmp_path, size=(16, 16))))


def test_build_gives_bases_and_discriminator(tiny_weights):
    model, discriminator = TINY.build(SystemConfig(weights=tiny_weights))
    assert isinstance(model, IndependentModels)
    assert next(discriminator.parameters()).dtype == torch.float32


def test_marks_tell_other_weights_apart(pair, tiny_weights, tmp_path):
    weight_hashes = pair.weight_hashes()
    assert weight_hashes.keys() == {"sound", "video", "motion", "discriminator"}
    copied = shutil.copytree(tiny_weights, tmp_path / "w")
    path = copied / "mmdisco" / "tiny.pt"
    path.write_bytes(path.read_bytes() + b"\0")
    changed = TINY.pair(SystemConfig(weights=copied)).weight_hashes()
    assert {role for role in weight_hashes if weight_hashes[role] != changed[role]} == {
        "discriminator"
    }


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("embedded", SystemConfig(dtype="float16"), "embedded makes clips of 64x64"),
        ("mmdiffusion-aist", SystemConfig(seconds=Fraction(2)), "makes clips of 1.6 s"),
        ("mmdiffusion-landscape", SystemConfig(offload=True), "one network without autoencoders"),
    ],
)
def test_options_that_a_preset_lacks_are_refused(name, options, said):
    with pytest.raises(UserError, match=said):
        preset(name).pair(options)


@pytest.mark.parametrize("name", ["embedded", "audioldm2-modelscope"])
def test_what_was_not_released_cannot_be_run_as_released(name):
    with pytest.raises(UserError, match="leave --as-released out"):
        preset(name).as_released()


def test_a_pair_without_a_discriminator_says_so(tmp_path):
    pair = preset("audioldm2-zeroscope").pair(SystemConfig(weights=tmp_path))
    with pytest.raises(UserError, match="no published discriminator: give --no-joint-guidance"):
        prepared_of(pair, "rain")
    with pytest.raises(UserError, match="audioldm2-zeroscope lacks files"):
        prepared_of(pair, "rain", no_joint_guidance=True)


def test_every_missing_file_is_named_with_folder_and_source(tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    for name in ("audioldm-animatediff", "auffusion-videocrafter2", "mmdiffusion-aist"):
        chosen = preset(name)
        assert not any(chosen.present(SystemConfig(weights=tmp_path)))
        with pytest.raises(UserError) as error:
            prepared_of(chosen.pair(SystemConfig(weights=tmp_path)), no_prompt=True)
        said = str(error.value)
        # a line for each, with what fetches it
        assert len(said.splitlines()) == len(chosen.components)
        assert said.count("hf download") == sum(one.on_hub for one in chosen.components)
        for component in chosen.components:
            assert component.source in said
            assert str(tmp_path / component.folder) in said
            for part in component.parts:
                assert all(name in said for name in part.missing(tmp_path / "nowhere"))


def test_present_files_are_seen(tiny_weights):
    assert all(TINY.present(SystemConfig(weights=tiny_weights)))
    assert all(JOINT.present(SystemConfig(weights=tiny_weights)))


@pytest.fixture
def run(tiny_weights, tmp_path, monkeypatch, capsys):
    """The command in an empty folder, with tiny presets beside the others."""
    monkeypatch.chdir(tmp_path)
    for name, one in (("TINY", TINY), ("JOINT", JOINT)):
        monkeypatch.setitem(PRESETS, one.name, f"test_presets_tiny:{name}")

    def run(*arguments):
        words = ["mmdisco", *arguments, "--weights", tiny_weights]
        words += ["--quiet"] if arguments[0] == "generate" else []
        monkeypatch.setattr(sys, "argv", [str(word) for word in words])
        with pytest.raises(SystemExit) as stopped:
            main()
        said = capsys.readouterr()
        return stopped.value.code, said.out.splitlines(), said.err

    return run


def test_command_generates_and_its_record_repeats_the_clip(run, tmp_path):
    options = ("--steps", 2, "--frames", 1, "--cfg-scale-audio", 2, "--seed", 3, "--samples", 2)
    words = ("--negative-prompt", "noise", "--as-released", "--batch-cfg", "--vae-slicing")
    status, out, err = run("generate", "rain", "--preset", "tiny", *options, *words, "--wav")
    assert (status, err) == (0, "")
    assert out == [f"rain-{i}.{end}" for i in (0, 1) for end in ("mp4", "wav", "png", "json")]
    record = json.loads((tmp_path / "rain-1.json").read_text())
    told = ("preset", "as_released", "seed", "sample", "negative_prompt", "steps", "frames")
    assert [record[key] for key in told] == ["tiny", True, 3, 1, "noise", 2, 1]
    assert (record["cfg_scale_audio"], record["cfg_scale_video"]) == (2.0, 7.5)
    status, _, err = run("generate", "--from-metadata", "rain-1.json", "--wav")
    assert (status, err) == (0, "")
    for end in ("mp4", "wav"):
        again = (tmp_path / f"rain-1-again.{end}").read_bytes()
        assert again == (tmp_path / f"rain-1.{end}").read_bytes()


def test_guidance_that_is_asked_for_less_often_is_recorded_and_repeated(run, tmp_path):
    options = ("--preset", "tiny", "--steps", 3, "--frames", 1)
    often = ("--joint-every", 2, "--joint-min-logsnr", -3)
    assert run("generate", "rain", *options)[0] == 0
    assert run("generate", "rain", *options, *often, "--out", "less.mp4")[0] == 0
    record = json.loads((tmp_path / "less.json").read_text())
    assert (record["joint_every"], record["joint_min_logsnr"]) == (2, -3.0)
    assert "joint_max_logsnr" not in record
    usual = json.loads((tmp_path / "rain.json").read_text())
    assert usual["joint_every"] == 1
    assert "joint_min_logsnr" not in usual
    assert (tmp_path / "rain.mp4").read_bytes() != (tmp_path / "less.mp4").read_bytes()
    assert run("generate", "--from-metadata", "less.json", "--out", "again.mp4")[0] == 0
    assert (tmp_path / "less.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()


def test_prompts_come_from_arguments_and_files(run, tmp_path):
    (tmp_path / "p.jsonl").write_text('"wind"\n\n{"prompt": "a dog", "seed": 5}\n')
    (tmp_path / "p.csv").write_text('prompt,negative_prompt,seed\n"rain, wind",noise,\nrain,,2\n')
    common = ("--preset", "tiny", "--steps", 1, "--frames", 1)
    status, out, err = run("generate", "rain", "snow", "--prompts", "p.jsonl", *common)
    assert (status, err) == (0, "")
    assert out[::3] == ["rain.mp4", "snow.mp4", "wind.mp4", "a-dog.mp4"]
    assert json.loads((tmp_path / "a-dog.json").read_text())["seed"] == 5
    status, out, _ = run("generate", "--prompts", "p.csv", *common, "--out", "c.mp4")
    assert (status, out[::3]) == (0, ["c-0.mp4", "c-1.mp4"])
    first, second = (json.loads((tmp_path / f"c-{i}.json").read_text()) for i in (0, 1))
    assert (first["prompt"], first["negative_prompt"], first["seed"]) == ("rain, wind", "noise", 0)
    assert (second["negative_prompt"], second["seed"]) == ("", 2)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["rain", "--preset", "huge"],
            "unknown preset 'huge': choose one of embedded, game, audioldm",
        ),
        (["--preset", "tiny"], "the prompt is empty"),
        (["rain", "--preset", "tiny", "--size", "big"], "give HEIGHTxWIDTH"),
        (["rain", "--preset", "tiny", "--size", "16x23"], "takes multiples of 2"),
        (["rain", "--preset", "tiny", "--seconds", "nan"], "seconds 'nan' is no number"),
        (
            ["rain", "--preset", "tiny", "--seconds", "0.3"],
            "AnimateDiffPipeline makes clips of",
        ),
        (["rain", "--preset", "tiny", "--seconds", "1", "--frames", "8"], "leave one out"),
        (["rain", "--preset", "tiny", "--frames", "64"], "AnimateDiffPipeline makes 12 at most"),
        (
            ["rain", "--preset", "tiny", "--dtype", "int8"],
            "unknown dtype 'int8': choose one of float32",
        ),
        (["rain", "--preset", "tiny", "--device", "abacus"], "device 'abacus' cannot be used"),
        (["rain", "--preset", "tiny", "--as-released", "--scheduler", "ddim"], "its own scheduler"),
        (["rain", "--as-released"], "embedded has no release"),
        (
            ["rain", "--preset", "tiny", "--as-released", "--joint-every", "2"],
            "evaluates the discriminator at every step",
        ),
        (["rain", "--preset", "tiny", "--joint-every", "0"], "joint_every 0: give 1 to 1000"),
        (
            ["rain", "--preset", "tiny", "--joint-min-logsnr", "2", "--joint-max-logsnr", "1"],
            "from ln(α²/σ²) = 2 to 1: give the lower first",
        ),
        (
            ["rain", "--preset", "tiny", "--joint-max-logsnr", "nan"],
            "give a finite number, or leave it out",
        ),
        (["rain", "--preset", "tiny", "--no-joint-guidance", "--joint-every", "2"], "without use"),
        (["rain", "--preset", "tiny-joint"], "reads no prompts"),
        (["--prompts", "missing.csv"], "missing.csv is not there"),
        (["--prompts", "p.txt"], "must end in .jsonl or .csv"),
        (["--prompts", "broken.jsonl"], "line 2, is not JSON"),
        (["--prompts", "nameless.jsonl"], "line 1, has no prompt"),
        (["--prompts", "strange.csv"], "has 'colour': known are prompt"),
        (["--prompts", "seed.csv"], "line 2: seed 'one' is no whole number"),
        (["--prompts", "empty.csv"], "holds no prompts"),
        (["a b", "a-b", "a-b-1"], "two clips would be named a-b-1.mp4"),
        (["rain", "--from-metadata", "r.json"], "--from-metadata makes a clip again"),
        (["--preset", "tiny", "--from-metadata", "r.json"], "--from-metadata makes a clip again"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_bad_input_is_one_line_and_status_two(arguments, said, run, tmp_path):
    (tmp_path / "broken.jsonl").write_text('"rain"\n{"prompt": \n')
    (tmp_path / "nameless.jsonl").write_text('{"text": "rain"}\n')
    (tmp_path / "strange.csv").write_text("prompt,colour\nrain,red\n")
    (tmp_path / "seed.csv").write_text("prompt,seed\nrain,one\n")
    (tmp_path / "empty.csv").write_text("prompt\n")
    if arguments[0] in ("--prompts", "a b"):
        arguments = [*arguments, "--preset", "tiny"]
    status, out, err = run("generate", *arguments)
    assert (status, out, err.count("\n")) == (2, [], 1), err
    assert said in err


def test_presets_are_listed(run):
    status, out, _ = run("presets", "--json")
    assert status == 0
    records = {one["preset"]: one for one in json.loads("\n".join(out))}
    assert records.keys() == PRESETS.keys()
    assert records["tiny"]["present"]
    assert not records["audioldm2-modelscope"]["present"]
    release = records["audioldm-animatediff"]["sampling"]
    assert release == {
        "steps": 50,
        "scheduler": "ddpm",
        "cfg_scale": [2.5, 7.5],
        "joint_scale": [1.0, 8.0],
    }
    status, out, _ = run("presets")
    table = "\n".join(out)
    assert status == 0
    for name in PRESETS:
        assert name in table
    assert "CC BY-NC-SA 4.0" in table


def test_the_embedded_pair_loads_no_other_models_code():
    script = """
import sys
from mmdisco.generation.config import SystemConfig
from mmdisco.generation.presets.registry import system_of
system = system_of(SystemConfig())
assert "torch" not in sys.modules
system.model(), system.discriminator()
print(*sys.modules, sep="\\n")
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "mmdisco.discriminators.two_tower" in run.stdout
    own = [name for name in run.stdout.split() if name.startswith("mmdisco.")]
    adapters = {name.split(".")[2] for name in own if name.startswith("mmdisco.adapters.")}
    assert adapters == {"miniature"}
    assert not [name for name in own if ".official" in name or ".text_pairs" in name]
