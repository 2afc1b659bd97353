"""The canonical model: ONNX in the normal form that a target's `needs` ask for. One pass a file.

A pass is a module with three functions: ``requires(form)`` says whether the form asks for it, ``run(model, form)``
gives the model changed, ``ensures(model, form)`` says what of its promise does not hold.
"""
