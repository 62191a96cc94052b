"""Tensor aliases: the only file with shape strings. Knows no module of the project.

``b`` is the batch, ``c`` channels, ``f`` video frames, ``h w`` space, ``l`` audio steps, ``m`` mel
bins. Time is axis 2 of every audio or video latent. ``*rest`` stands for any shape of one sample.
"""

from jaxtyping import Float
from torch import Tensor

Latent = Float[Tensor, "b *rest"]
AudioLatent = Float[Tensor, "b c l m"] | Float[Tensor, "b c l"]
VideoLatent = Float[Tensor, "b c f h w"]
Clips = Float[Tensor, "b f h w 3"]
Vector = Float[Tensor, "b d"]
PerSample = Float[Tensor, "b"]
Table = Float[Tensor, "n"]
Text = Float[Tensor, "b d_text"]
Logit = Float[Tensor, "b"]
Tokens = Float[Tensor, "b tokens width"]
Components = Float[Tensor, "k d"]
Covariance = Float[Tensor, "d d"]
Shares = Float[Tensor, "k"]
Seconds = Float[Tensor, "tokens"]
Steps = Float[Tensor, "b steps width"]
Hidden = Float[Tensor, "b steps hidden"]
Logits = Float[Tensor, "sounds pictures"]
