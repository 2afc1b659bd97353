"""Operators of ``ai.onnx.ml`` written by tensor operators: one function an operator, families in files.

What counts is what onnxruntime computes, where ONNX's specification leaves it open.
"""
