"""From a bundle to C99 for a microcontroller: the body's graph as calls of kernels in one planned arena.

`graph` reads ONNX into calls on views of buffers, `arena` gives buffers a place, `source` writes the C. The
weights are no part of it: they travel as a signed blob, see `acclimate_device.mcu.weights`.
"""
