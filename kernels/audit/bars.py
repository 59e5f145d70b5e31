"""Bars for compiled code: what a GPU has, and what the code took when it was last looked at."""

from __future__ import annotations

__all__ = ["RECORDED", "RECORDED_WITH", "SHARED_LIMITS"]

#: Bytes of shared memory a program may have. Compilers do not check it. That of "sm_80" is the
#: limit of the smaller GPUs that take its configurations (sm_86, sm_89, sm_120).
SHARED_LIMITS = {"sm_80": 101_376, "sm_90": 232_448, "sm_100": 232_448, "gfx942": 65_536}

#: The version of Triton that the numbers below are of; with others only the limits hold.
RECORDED_WITH = "3.8.0"

#: (target, build): registers of a thread, bytes of shared memory.
RECORDED: dict[tuple[str, str], tuple[int, int]] = {
    ("sm_80", "step_reward bf16"): (72, 2048),
    ("sm_80", "step_reward fp32"): (75, 64),
    ("sm_80", "step_reward bf16 product"): (72, 2048),
    ("sm_80", "mlp epilogue bf16"): (64, 2048),
    ("sm_80", "label_logits 1 label"): (46, 8),
    ("sm_80", "label_probability 2 labels"): (48, 32),
    ("sm_80", "label_probability 4 labels"): (64, 64),
    ("sm_80", "label_probability 8 labels"): (110, 2048),
    ("sm_80", "vocabulary partial 16 rows"): (108, 55296),
    ("sm_80", "vocabulary partial 32 rows"): (148, 61440),
    ("sm_80", "vocabulary partial 64 rows"): (178, 73728),
    ("sm_80", "vocabulary partial 128 rows"): (227, 49152),
    ("sm_80", "vocabulary finish"): (18, 16),
    ("sm_90", "step_reward bf16"): (72, 2048),
    ("sm_90", "step_reward fp32"): (72, 64),
    ("sm_90", "step_reward bf16 product"): (72, 2048),
    ("sm_90", "mlp epilogue bf16"): (62, 2048),
    ("sm_90", "label_logits 1 label"): (46, 8),
    ("sm_90", "label_probability 2 labels"): (46, 32),
    ("sm_90", "label_probability 4 labels"): (64, 64),
    ("sm_90", "label_probability 8 labels"): (108, 2048),
    ("sm_90", "vocabulary partial 16 rows"): (109, 55296),
    ("sm_90", "vocabulary partial 32 rows"): (148, 61440),
    ("sm_90", "vocabulary partial 64 rows"): (148, 98304),
    ("sm_90", "vocabulary partial 128 rows"): (225, 131072),
    ("sm_90", "vocabulary finish"): (20, 16),
    ("sm_100", "step_reward bf16"): (66, 2048),
    ("sm_100", "step_reward fp32"): (60, 64),
    ("sm_100", "step_reward bf16 product"): (66, 2048),
    ("sm_100", "mlp epilogue bf16"): (64, 2048),
    ("sm_100", "label_logits 1 label"): (40, 8),
    ("sm_100", "label_probability 2 labels"): (50, 32),
    ("sm_100", "label_probability 4 labels"): (64, 64),
    ("sm_100", "label_probability 8 labels"): (78, 2048),
    ("sm_100", "vocabulary partial 16 rows"): (110, 55296),
    ("sm_100", "vocabulary partial 32 rows"): (148, 61440),
    ("sm_100", "vocabulary partial 64 rows"): (152, 98320),
    ("sm_100", "vocabulary partial 128 rows"): (244, 131088),
    ("sm_100", "vocabulary finish"): (20, 16),
    ("gfx942", "step_reward bf16"): (110, 2048),
    ("gfx942", "step_reward fp32"): (122, 2048),
    ("gfx942", "step_reward bf16 product"): (110, 2048),
    ("gfx942", "mlp epilogue bf16"): (109, 2048),
    ("gfx942", "label_logits 1 label"): (64, 8),
    ("gfx942", "label_probability 2 labels"): (58, 4096),
    ("gfx942", "label_probability 4 labels"): (108, 4096),
    ("gfx942", "label_probability 8 labels"): (114, 2048),
    ("gfx942", "vocabulary partial 16 rows"): (100, 18432),
    ("gfx942", "vocabulary partial 32 rows"): (124, 20480),
    ("gfx942", "vocabulary partial 64 rows"): (110, 24576),
    ("gfx942", "vocabulary partial 128 rows"): (160, 32768),
    ("gfx942", "vocabulary finish"): (10, 16),
}
