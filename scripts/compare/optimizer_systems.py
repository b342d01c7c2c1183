"""The optimizers whose trajectories optimizer_golden.py makes: the tensors they move, their schedule, and each as temper's configuration
keys with what a name implies."""

from __future__ import annotations

STEPS = 100
KEPT = [1, 2, 10, 30, 100]
HALVES = [5, 7]  # of a batch, in examples
# name, kind, layer, shape, stacked matrices
TENSORS = [
    ("h.0.attn.c_attn.weight", "matrices", 0, (12, 6), 3),
    ("h.0.mlp.c_fc.weight", "matrices", 0, (4, 6), 1),
    ("h.1.mlp.c_proj.weight", "matrices", 1, (7, 5), 1),
    ("wte.weight", "embeddings", -1, (5, 6), 1),
    ("h.0.mlp.c_fc.bias", "biases", 0, (5,), 1),
    ("ln_f.weight", "layernorms", -1, (4,), 1),
]
SCHEDULE = {"schedule.name": "cosine", "schedule.warmup_steps": 5, "schedule.min_ratio": 0.1}

# ---- the systems, as configuration keys without "optimizer." ---------------------------------------------------------------------

SYSTEMS: dict[str, dict] = {
    "sgd": {"name": "sgd", "learning_rate": 0.05},
    "sgd_plain": {"name": "sgd", "learning_rate": 0.2, "momentum": 0.0},
    "sgd_nesterov": {"name": "sgd", "learning_rate": 0.05, "nesterov": True},
    "sgd_dampening": {"name": "sgd", "learning_rate": 0.2, "dampening": 0.5, "decay": "none"},
    "sgd_l2_before_clipping": {"name": "sgd", "learning_rate": 0.05, "l2_stage": "before_clipping", "weight_decay": 0.5},
    "sgdw": {"name": "sgdw", "learning_rate": 0.05, "weight_decay": 0.01},
    "sgdw_rate_outside": {"name": "sgdw", "learning_rate": 0.05, "weight_decay": 0.01, "momentum_includes_rate": False, "nesterov": True},
    "adam": {"name": "adam"},
    "adam_l2_before_clipping": {"name": "adam", "l2_stage": "before_clipping"},
    "adam_scale_adjusted": {"name": "adam", "decay": "scale_adjusted", "weight_decay": 0.01},
    "adamw": {"name": "adamw"},
    "adamw_independent": {"name": "adamw", "decay": "independent", "weight_decay": 0.005, "beta2": 0.999},
    "adamw_normalized": {"name": "adamw", "decay": "normalized", "weight_decay": 0.05, "decay_schedule": "cosine"},
    "adamw_cautious": {"name": "adamw", "decay": "cautious", "weight_decay": 0.5, "decay_schedule": "follow_rate"},
    "adamw_second": {"name": "adamw", "bias_correction": "second"},
    "adamw_eps_inside": {"name": "adamw", "eps_placement": "inside", "eps": 1e-2},
    "adamw_clip_tensor": {"name": "adamw", "clip_mode": "tensor", "grad_clip": 0.5},
    "adamw_clip_value": {"name": "adamw", "clip_mode": "value", "grad_clip": 0.1},
    "adamw_factors": {
        "name": "adamw",
        "decay_on": ["matrices", "embeddings", "biases", "layernorms"],
        "decay_factors": ["*=0.5", "h.?.mlp.*=2", "*.bias=0"],
        "rate_factors": ["wte.*=0.25", "ln_f.weight=0"],
        "depth_rate_factor": 0.5,
    },
    "adamw_moving_momentum": {"name": "adamw", "schedule.momentum_warmup_steps": 20, "schedule.momentum_cooldown_steps": 10},
    "adamw_rotational": {"name": "adamw", "norm_control": "rotational"},
    "adamw_corrected": {"name": "adamw", "rate_correction": "gradient"},
    "adamc": {"name": "adamc"},
    "lion": {"name": "lion"},
    "lion_independent": {"name": "lion", "beta1": 0.95, "beta2": 0.98, "decay": "independent", "weight_decay": 0.005},
    "lion_rotational": {"name": "lion", "norm_control": "rotational"},
    "nesterov_lion": {"name": "nesterov_lion"},
    "liona": {"name": "liona"},
    "liona_nesterov_inverse": {"name": "liona", "nesterov": True, "inverse_bias_correction": "linear", "momentum": 0.98},
    "liona_norm_matched": {"name": "liona", "nesterov": True, "sign_scale": "norm_matched", "inverse_bias_correction": "root"},
    "lionar": {"name": "lionar"},
    "lionar_nesterov_inverse": {"name": "lionar", "nesterov": True, "momentum": 0.98, "inverse_bias_correction": "linear"},
    "lionar_matrix": {"name": "lionar", "norm_granularity": "matrix", "momentum": 0.95},
    "lionar_matrix_exact": {"name": "lionar", "norm_granularity": "matrix", "rotation_averaging": 0.0, "rotation_zero_mean": False},
    "lionar_linear": {"name": "lionar", "rotation_schedule": "linear", "rotation_embeddings": False, "rate_factors": ["wte.*=0.5", "h.0.*=2"]},
    "lionar_corrected": {"name": "lionar", "rate_correction": "momentum", "rate_correction_smoothing": 0.8},
    "sgd_l2_corrected": {
        "name": "sgd",
        "learning_rate": 0.05,
        "l2_stage": "before_clipping",
        "weight_decay": 0.5,
        "clip_mode": "tensor",
        "grad_clip": 0.5,
        "rate_correction": "momentum",
    },
    "sgd_rotational": {"name": "sgd", "norm_control": "rotational", "learning_rate": 0.05},
    "adamw_gains": {
        "name": "adamw",
        "norm_control": "rotational",
        "rotation_gains": True,
        "learning_rate": 0.1,
        "beta1": 0.8,
        "beta2": 0.9,
        "eps": 1e-3,
        "rate_factors": ["h.0.*=0.5"],
    },
    "lionar_gains": {"name": "lionar", "rotation_gains": True, "rate_correction": "momentum", "inverse_bias_correction": "linear"},
    "sgdw_gains": {
        "name": "sgdw",
        "norm_control": "rotational",
        "rotation_gains": True,
        "rotation_zero_mean": False,
        "learning_rate": 0.05,
        "weight_decay": 0.01,
        "clip_mode": "value",
        "grad_clip": 0.1,
    },
    "sgd_relative": {"name": "sgd", "norm_control": "relative", "learning_rate": 0.05, "weight_decay": 0.01},
    "adamh": {"name": "adamh", "other_learning_rate": 0.01},
    "adamh_row": {"name": "adamh", "norm_granularity": "row"},
    "muon": {"name": "muon", "other_learning_rate": 0.01},
    "muon_match_rms": {"name": "muon", "muon_scale": "match_rms", "decay": "l2", "weight_decay": 0.01, "muon_iterations": 6},
    "ademamix": {"name": "ademamix", "beta3": 0.99},
    "ademamix_warmup": {"name": "ademamix", "ademamix_warmup_steps": 40},
    "schedule_free": {"name": "schedule_free_adamw"},
    "schedule_free_paper": {"name": "schedule_free_adamw", "eps_placement": "inside"},
    "schedule_free_power": {"name": "schedule_free_adamw", "averaging_power": 2.0, "decay": "independent", "weight_decay": 0.002},
}
DEFAULTS = {
    "learning_rate": 0.02,
    "nesterov": False,
    "dampening": 0.0,
    "momentum_includes_rate": True,
    "eps": 1e-8,
    "beta3": 0.9999,
    "weight_decay": 0.1,
    "l2_stage": "after_clipping",
    "decay_factors": [],
    "rate_factors": [],
    "depth_rate_factor": 1.0,
    "grad_clip": 1.0,
    "clip_mode": "global",
    "sign_scale": "noise",
    "inverse_bias_correction": "none",
    "rotation_zero_mean": True,
    "rotation_averaging": 0.9,
    "rotation_embeddings": True,
    "rotation_schedule": "root",
    "rotation_gains": False,
    "rate_correction": "none",
    "rate_correction_smoothing": 0.95,
    "ademamix_alpha": 8.0,
    "ademamix_warmup_steps": 0,
    "averaging_power": 0.0,
    "muon_iterations": 5,
    "muon_scale": "shape",
}


def settings_of(system: str) -> dict:
    given = SYSTEMS[system]
    name = given["name"]
    implied = {
        "beta1": 0.9,
        "beta2": {"lion": 0.99, "ademamix": 0.999, "schedule_free_adamw": 0.999}.get(name, 0.95),
        "momentum": 0.95 if name == "muon" else 0.9,
        "decay": {"sgd": "l2", "adam": "l2", "sgdw": "independent"}.get(name, "decoupled"),
        "decay_schedule": "follow_rate" if name == "adamc" else "constant",
        "decay_on": ["matrices"] if name == "adamc" else ["matrices", "embeddings"],
        "norm_control": {"lionar": "rotational", "adamh": "relative"}.get(name, "none"),
        "other_learning_rate": given.get("learning_rate", DEFAULTS["learning_rate"]),
    }
    settings = DEFAULTS | implied | given
    settings.setdefault("norm_granularity", "matrix" if settings["norm_control"] == "relative" else "row")
    return settings
