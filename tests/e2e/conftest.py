from training_runs import _forget_accelerator, mmdisco

__all__ = ["_forget_accelerator", "mmdisco"]
