// As much of org.tensorflow.lite as generated clients call; README.md beside this file says why.
package org.tensorflow.lite

import java.io.Closeable
import java.io.File

enum class DataType { FLOAT32, INT32, UINT8, INT64, STRING, BOOL, INT16, INT8 }

interface Tensor {
    fun shape(): IntArray
    fun index(): Int
    fun dataType(): DataType
    fun numBytes(): Int
}

class Interpreter(file: File, options: Options) : Closeable {
    class Options {
        fun setNumThreads(threads: Int): Options = this
    }

    fun getSignatureKeys(): Array<String> = TODO()
    fun getSignatureOutputs(key: String): Array<String> = TODO()
    fun getInputTensorFromSignature(name: String, key: String): Tensor = TODO()
    fun getOutputTensorFromSignature(name: String, key: String): Tensor = TODO()
    fun resizeInput(index: Int, sizes: IntArray): Unit = TODO()
    fun allocateTensors(): Unit = TODO()
    fun runSignature(inputs: Map<String, Any>, outputs: Map<String, Any>, key: String): Unit = TODO()
    override fun close() = Unit
}
