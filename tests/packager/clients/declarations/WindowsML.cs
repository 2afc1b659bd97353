// As much of Windows.AI.MachineLearning as generated clients call; README.md beside this file says why.
using System;
using System.Collections.Generic;

namespace Windows.AI.MachineLearning
{
    public enum LearningModelDeviceKind { Default, Cpu, DirectX, DirectXHighPerformance, DirectXMinPower }

    public enum TensorKind
    {
        Undefined, Float, UInt8, Int8, UInt16, Int16, Int32, Int64, String, Boolean, Float16, Double, UInt32, UInt64,
        Complex64, Complex128
    }

    public interface ITensor
    {
        TensorKind TensorKind { get; }
        IReadOnlyList<long> Shape { get; }
    }

    public sealed class LearningModelDevice
    {
        public LearningModelDevice(LearningModelDeviceKind kind) { throw new NotImplementedException(); }
    }

    public sealed class LearningModel : IDisposable
    {
        public static LearningModel LoadFromFilePath(string path) { throw new NotImplementedException(); }
        public void Dispose() { }
    }

    public sealed class LearningModelSession : IDisposable
    {
        public LearningModelSession(LearningModel model, LearningModelDevice device) { throw new NotImplementedException(); }
        public LearningModelEvaluationResult Evaluate(LearningModelBinding bindings, string correlationId)
        {
            throw new NotImplementedException();
        }
        public void Dispose() { }
    }

    public sealed class LearningModelBinding
    {
        public LearningModelBinding(LearningModelSession session) { throw new NotImplementedException(); }
        public void Bind(string name, object value) { throw new NotImplementedException(); }
    }

    public sealed class LearningModelEvaluationResult
    {
        public bool Succeeded { get { throw new NotImplementedException(); } }
        public int ErrorStatus { get { throw new NotImplementedException(); } }
        public IReadOnlyDictionary<string, object> Outputs { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorFloat16Bit : ITensor
    {
        public static TensorFloat16Bit CreateFromArray(IEnumerable<long> shape, float[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<float> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorFloat : ITensor
    {
        public static TensorFloat CreateFromArray(IEnumerable<long> shape, float[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<float> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorDouble : ITensor
    {
        public static TensorDouble CreateFromArray(IEnumerable<long> shape, double[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<double> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorInt8Bit : ITensor
    {
        public static TensorInt8Bit CreateFromArray(IEnumerable<long> shape, byte[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<byte> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorInt16Bit : ITensor
    {
        public static TensorInt16Bit CreateFromArray(IEnumerable<long> shape, short[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<short> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorInt32Bit : ITensor
    {
        public static TensorInt32Bit CreateFromArray(IEnumerable<long> shape, int[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<int> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorInt64Bit : ITensor
    {
        public static TensorInt64Bit CreateFromArray(IEnumerable<long> shape, long[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<long> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorUInt8Bit : ITensor
    {
        public static TensorUInt8Bit CreateFromArray(IEnumerable<long> shape, byte[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<byte> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorUInt16Bit : ITensor
    {
        public static TensorUInt16Bit CreateFromArray(IEnumerable<long> shape, ushort[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<ushort> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorUInt32Bit : ITensor
    {
        public static TensorUInt32Bit CreateFromArray(IEnumerable<long> shape, uint[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<uint> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorUInt64Bit : ITensor
    {
        public static TensorUInt64Bit CreateFromArray(IEnumerable<long> shape, ulong[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<ulong> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorBoolean : ITensor
    {
        public static TensorBoolean CreateFromArray(IEnumerable<long> shape, bool[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<bool> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }

    public sealed class TensorString : ITensor
    {
        public static TensorString CreateFromArray(IEnumerable<long> shape, string[] data) { throw new NotImplementedException(); }
        public IReadOnlyList<string> GetAsVectorView() { throw new NotImplementedException(); }
        public TensorKind TensorKind { get { throw new NotImplementedException(); } }
        public IReadOnlyList<long> Shape { get { throw new NotImplementedException(); } }
    }
}
