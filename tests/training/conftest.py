from training_runs import _forget_accelerator, asked, made, mmdisco, prepared

__all__ = ["_forget_accelerator", "asked", "made", "mmdisco", "prepared"]
