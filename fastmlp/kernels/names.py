"""The names that other people call from their compiled functions, and the file of this folder that each lives in.

Plain Python, so that the names are known before a compiler is loaded.
"""

HOMES = {
    # a layer, a batch
    "count_correct": "scalar",
    "dense_backward_input": "scalar",
    "dense_backward_parameters": "scalar",
    "dense_forward": "scalar",
    "dense_sgd_update": "scalar",
    "gather": "scalar",
    "sgd_update": "scalar",
    "softmax": "scalar",
    "softmax_cross_entropy": "scalar",
    # the sums of a layer, normalised
    "batch_moments": "normalisation",
    "batch_norm_backward": "normalisation",
    "fixed_norm_backward": "normalisation",
    "inverse_deviations": "normalisation",
    "layer_norm": "normalisation",
    "layer_norm_backward": "normalisation",
    "normalise_units": "normalisation",
    "scale_backward": "normalisation",
    "track_moments": "normalisation",
    # formulas over arrays
    "adagrad_update": "named",
    "adam_update": "named",
    "adamw_update": "named",
    "binary_cross_entropy": "named",
    "lion_update": "named",
    "mean_squared_error": "named",
    "momentum_update": "named",
    "nadam_update": "named",
    "nesterov_update": "named",
    "relu": "named",
    "relu_backward": "named",
    "rmsprop_momentum_update": "named",
    "rmsprop_update": "named",
    "sigmoid": "named",
    "sigmoid_backward": "named",
    "silu": "named",
    "silu_backward": "named",
    "tanh": "named",
    "tanh_backward": "named",
    # random numbers that are functions of (key, counter), so that threads do not share a generator
    "fill_normal": "random",
    "fill_uniform": "random",
    "random_bits": "random",
    "shuffle": "random",
    "stream_key": "random",
    "uniform": "random",
    # a whole network: what Network.compiled() returns
    "copy_state": "embedded",
    "gradient": "embedded",
    "input_gradient": "embedded",
    "loss": "embedded",
    "make_scratch": "embedded",
    "predict": "embedded",
    "predict_batch": "embedded",
    "train_step": "embedded",
    "with_parameters": "embedded",
}
