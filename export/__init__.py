"""The workshop of the project's networks: training, evaluation, export to ONNX."""
