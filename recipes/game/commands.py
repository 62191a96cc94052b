"""The commands of ``mmdisco`` that the recipe runs and its page shows, in the folder of the run."""

from typing import Final

BASES: Final = (
    "mmdisco bases clips/train --captions clips/train/captions.csv --out pair --size 80x96 "
    "--fps 35/3 --seconds 12/7 --sample-rate 22050 --set latent_channels=6 "
    "--set video_denoiser.steps=6000 --set audio_denoiser.steps=8000 --jobs 2"
)
PREPARE: Final = (
    "mmdisco prepare clips/train --captions clips/train/captions.csv --preset pair "
    "--group-by name --validation 0.05 --out prepared/train"
)
PREPARE_HELD_OUT: Final = tuple(
    f"mmdisco prepare clips/{part} --captions clips/{part}/captions.csv --preset pair "
    f"--validation 0 --out prepared/{part}"
    for part in ("validation", "held_out")
)
FAKES: Final = "mmdisco sample-fakes prepared/train --out fakes --max-per-caption 64"
TRAIN: Final = "mmdisco train training.yaml"
ADDITIVE: Final = (
    "mmdisco train training.yaml --out additive --fusion additive "
    "--set contrastive_pretraining.steps=0 --set loss.contrastive=0"
)
GENERATE: Final = (
    'mmdisco generate "a pistol, a round arena" --preset pair --discriminator discriminator '
    "--samples 4 --out first/clip.mp4"
)
MORE: Final = (
    "mmdisco prepare more/train --captions more/train/captions.csv --preset pair "
    "--group-by name --validation 0.01 --reconstructions 0 --out prepared/more"
)
