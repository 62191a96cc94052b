"""From prepared clips to a trained discriminator: fakes, configuration, training, its folder."""
