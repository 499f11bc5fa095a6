"""Networks as ONNX files: written, their large matrices stored narrower, split for git."""
