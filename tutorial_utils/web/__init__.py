"""The miniatures in a web page, without a server: their networks as ONNX files, what they need, and the page itself."""
