"""The method: noise levels, denoisers, the log ratio's gradient, guidance, losses, sampling."""
