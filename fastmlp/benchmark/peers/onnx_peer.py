"""ONNX Runtime: one prediction by a session. The graph is made here, by hand."""

from typing import Any

from fastmlp.benchmark.problem import Problem, layers_of
from fastmlp.benchmark.runner import Prediction, from_python

OPSET, IR_VERSION = 17, 8
OPERATORS = {"sigmoid": "Sigmoid", "tanh": "Tanh", "relu": "Relu"}


def build(problem: Problem, threads: int) -> Prediction:
    """Return ONNX Runtime ready to predict one row."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_model(problem), options, providers=["CPUExecutionProvider"])
    return Prediction(from_python(lambda row: int(session.run(None, {"x": row})[0][0])), lambda row: row[None])


def _model(problem: Problem) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    workload = problem.workload
    nodes: list[Any] = []
    initializers: list[Any] = []
    value = "x"
    layers = layers_of(problem.parameters, workload.sizes)
    for index, (weight, bias) in enumerate(layers):
        initializers += [numpy_helper.from_array(weight, f"weight{index}"), numpy_helper.from_array(bias, f"bias{index}")]
        nodes.append(helper.make_node("Gemm", [value, f"weight{index}", f"bias{index}"], [f"z{index}"]))
        value = f"z{index}"
        if index + 1 < len(layers):
            nodes.append(helper.make_node(OPERATORS[workload.activation], [value], [f"a{index}"]))
            value = f"a{index}"
    nodes.append(helper.make_node("ArgMax", [value], ["class"], axis=1, keepdims=0))
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, workload.sizes[0]])
    classes = helper.make_tensor_value_info("class", TensorProto.INT64, [1])
    graph = helper.make_graph(nodes, "network", [x], [classes], initializers)
    model: bytes = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION).SerializeToString()
    return model
