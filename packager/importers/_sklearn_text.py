r"""scikit-learn's text vectorisers as operators: skl2onnx writes a tokeniser that splits words where it finds accents.

Words are found as ``\w`` has it in Python: letters and numbers of all scripts, and the underscore.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from packager.errors import ConversionError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from sklearn.base import BaseEstimator

    from packager.importers._graph import Sink

_LETTER = r"[\p{L}\p{N}_]"
_PATTERNS = {
    r"(?u)\b\w\w+\b": _LETTER + _LETTER + "+",
    r"\b\w\w+\b": _LETTER + _LETTER + "+",
    r"(?u)\b\w+\b": _LETTER + "+",
    r"\b\w+\b": _LETTER + "+",
    r"(?u)\w+": _LETTER + "+",
    r"\w+": _LETTER + "+",
    r"[a-zA-Z]+": "[a-zA-Z]+",
    r"[a-z]+": "[a-z]+",
    r"[a-zA-Z0-9]+": "[a-zA-Z0-9]+",
}
"""scikit-learn's patterns in the syntax of RE2, which knows ``\\w`` for ASCII alone; greedy, as both read them."""
_LOCALE = "C.UTF-8"
"""For lower case: with glibc from 2.35 on it is always there, which onnxruntime's default, en_US.UTF-8, is not."""
_PADDING = " "
"""Stands behind the last word of a short document; no pattern finds it as a word."""
_FLOAT = 1


def write_vectorizer(sink: Sink, source: str, vectorizer: BaseEstimator) -> str:
    """The name of what a CountVectorizer or TfidfVectorizer makes: float32, (N, words). `source`: (N,) or (N, 1) text.

    Raises:
        ConversionError: the vectoriser does what ONNX has no operators for.
    """
    import numpy as np

    _check(vectorizer)
    flat = sink.add("Reshape", [source, sink.constant(np.array([-1], dtype=np.int64))])
    if vectorizer.lowercase:
        flat = sink.add("StringNormalizer", [flat], {"case_change_action": "LOWER", "locale": _LOCALE})
    tokens = sink.add(
        "com.microsoft.Tokenizer",
        [flat],
        {"mark": 0, "mincharnum": 1, "pad_value": _PADDING, "tokenexp": _PATTERNS[vectorizer.token_pattern]},
    )
    counts = sink.add("TfIdfVectorizer", [tokens], _grams(vectorizer))
    if vectorizer.binary:
        counts = sink.add("Min", [counts, sink.constant(np.ones((), dtype=np.float32))])
    weights = getattr(vectorizer, "_tfidf", None)
    return counts if weights is None else write_weights(sink, counts, weights)


def write_weights(sink: Sink, counts: str, transformer: BaseEstimator) -> str:
    """The name of what a TfidfTransformer makes of `counts`, float32 of (N, words)."""
    import numpy as np

    one, zero = (sink.constant(np.array(value, dtype=np.float32)) for value in (1.0, 0.0))
    if transformer.sublinear_tf:
        there = sink.add("Greater", [counts, zero])
        logarithm = sink.add("Add", [sink.add("Log", [sink.add("Where", [there, counts, one])]), one])
        counts = sink.add("Where", [there, logarithm, zero])
    if transformer.use_idf:
        idf = cast("NDArray[np.float64]", transformer.idf_)
        counts = sink.add("Mul", [counts, sink.constant(idf.astype(np.float32).reshape(1, -1))])
    if transformer.norm is None:
        return counts
    operator = {"l1": "ReduceL1", "l2": "ReduceL2", "max": "ReduceMax"}[transformer.norm]
    size = sink.add(operator, [counts, sink.constant(np.array([1], dtype=np.int64))], {"keepdims": 1})
    nothing = sink.add("Equal", [size, zero])
    return sink.add("Div", [counts, sink.add("Where", [nothing, one, size])])


def _check(vectorizer: BaseEstimator) -> None:
    name = type(vectorizer).__name__
    given = {key: getattr(vectorizer, key) for key in ("preprocessor", "tokenizer", "strip_accents")}
    for key, value in given.items():
        if value is not None:
            raise _unsupported(f"{key}={value!r} of a {name}")
    if vectorizer.analyzer != "word":
        raise _unsupported(f"analyzer={vectorizer.analyzer!r} of a {name}")
    if vectorizer.token_pattern not in _PATTERNS:
        raise _unsupported(f"token_pattern={vectorizer.token_pattern!r} of a {name}", ", ".join(_PATTERNS))
    if vectorizer.stop_words is not None and tuple(vectorizer.ngram_range) != (1, 1):
        raise _unsupported(f"stop_words together with ngram_range={tuple(vectorizer.ngram_range)} of a {name}")


def _unsupported(what: str, expected: str = "") -> ConversionError:
    return ConversionError(
        "import.sklearn",
        f"{what} can't be expressed in ONNX" + (f": expected one of {expected}" if expected else ""),
        hint="make the words before the model, and give it their counts",
    )


def _grams(vectorizer: BaseEstimator) -> dict[str, int | str | list[int] | list[str]]:
    """The attributes of TfIdfVectorizer: all n-grams of each length one after the other, and the column of each."""
    shortest, longest = vectorizer.ngram_range
    by_length: dict[int, list[tuple[list[str], int]]] = {length: [] for length in range(1, longest + 1)}
    for gram, column in sorted(vectorizer.vocabulary_.items(), key=lambda entry: entry[1]):
        words = gram.split(" ")
        if len(words) not in by_length:
            raise _unsupported(f"'{gram[:80]}' in the vocabulary of a {type(vectorizer).__name__}")
        by_length[len(words)].append((words, int(column)))
    pool: list[str] = []
    starts, columns = [], []
    for entries in by_length.values():
        starts.append(len(pool))
        for words, column in entries:
            pool.extend(words)
            columns.append(column)
    return {
        "mode": "TF",
        "min_gram_length": shortest,
        "max_gram_length": longest,
        "max_skip_count": 0,
        "ngram_counts": starts,
        "ngram_indexes": columns,
        "pool_strings": pool,
    }
