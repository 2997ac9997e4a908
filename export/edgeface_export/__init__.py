"""torch -> ONNX -> precision -> bundle -> TensorRT engine."""
