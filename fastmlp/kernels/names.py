"""The names that other people call from their compiled functions, and the file of this folder that each lives in.

Plain Python, so that the names are known before a compiler is loaded.
"""

_NAMES = {
    # a layer, a batch
    "textbook": """count_correct dense_backward_input dense_backward_parameters dense_forward dense_sgd_update gather sgd_update softmax
        softmax_cross_entropy softmax_squared_error""",
    # the sums of a layer, normalised
    "normalisation": """batch_moments batch_norm_backward fixed_norm_backward inverse_deviations layer_norm layer_norm_backward
        normalise_units scale_backward track_moments""",
    # formulas over arrays
    "named": """adagrad_update adam_update adamw_update binary_cross_entropy lion_update mean_squared_error momentum_update nadam_update
        nesterov_update relu relu_backward rmsprop_momentum_update rmsprop_update sigmoid sigmoid_backward silu silu_backward tanh
        tanh_backward""",
    # random numbers that are functions of (key, counter), so that threads do not share a generator
    "random": "fill_normal fill_uniform random_bits shuffle stream_key uniform",
    # a whole network: what Network.compiled() returns
    "embedded": "copy_state gradient input_gradient loss make_scratch predict predict_batch train_step with_parameters",
}
HOMES = {name: file for file, names in _NAMES.items() for name in names.split()}
