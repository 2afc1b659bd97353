// As much of Microsoft.ML.OnnxRuntime as generated clients call; README.md beside this file says why.
using System;
using System.Collections;
using System.Collections.Generic;

namespace Microsoft.ML.OnnxRuntime
{
    using Microsoft.ML.OnnxRuntime.Tensors;

    public class OnnxRuntimeException : Exception { }

    public struct Float16
    {
        public readonly ushort value;
        public Float16(ushort v) { value = v; }
    }

    public class SessionOptions : IDisposable
    {
        public int IntraOpNumThreads { get; set; }
        public void Dispose() { }
    }

    public interface IDisposableReadOnlyCollection<T> : IReadOnlyCollection<T>, IReadOnlyList<T>, IDisposable { }

    public class NamedOnnxValue
    {
        public string Name { get; set; }
        public static NamedOnnxValue CreateFromTensor<T>(string name, Tensor<T> value) { throw new NotImplementedException(); }
        public Tensor<T> AsTensor<T>() { throw new NotImplementedException(); }
    }

    public class DisposableNamedOnnxValue : NamedOnnxValue, IDisposable
    {
        public TensorElementType ElementType { get { throw new NotImplementedException(); } }
        public void Dispose() { }
    }

    public class InferenceSession : IDisposable
    {
        public InferenceSession(string modelPath, SessionOptions options) { throw new NotImplementedException(); }
        public IDisposableReadOnlyCollection<DisposableNamedOnnxValue> Run(IReadOnlyCollection<NamedOnnxValue> inputs)
        {
            throw new NotImplementedException();
        }
        public void Dispose() { }
    }
}

namespace Microsoft.ML.OnnxRuntime.Tensors
{
    public enum TensorElementType
    {
        Float = 1, UInt8, Int8, UInt16, Int16, Int32, Int64, String, Bool, Float16, Double, UInt32, UInt64, Complex64,
        Complex128, BFloat16, DataTypeMax
    }

    public abstract class Tensor<T> : IEnumerable<T>
    {
        // A span of them in the library.
        public int[] Dimensions { get { throw new NotImplementedException(); } }
        public IEnumerator<T> GetEnumerator() { throw new NotImplementedException(); }
        IEnumerator IEnumerable.GetEnumerator() { throw new NotImplementedException(); }
    }

    public class DenseTensor<T> : Tensor<T>
    {
        public DenseTensor(T[] memory, int[] dimensions) { throw new NotImplementedException(); }
    }
}
