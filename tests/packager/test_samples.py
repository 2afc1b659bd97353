from __future__ import annotations

import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from manifests.manifest import SignatureSection, TensorSection
from packager.errors import ConfigError, ConversionError
from packager.samples import DataFile, DataFiles, generate_samples, read_samples

if TYPE_CHECKING:
    from pathlib import Path

    from manifests.section import DType
    from packager.samples import Samples

X = np.arange(12, dtype=np.float64).reshape(4, 3)
LABELS = np.array([0, 1, 1, 0])


def signature(*inputs: tuple[str, DType, tuple[int | str, ...]]) -> SignatureSection:
    return SignatureSection(
        inputs=tuple(TensorSection(name=name, dtype=dtype, shape=shape) for name, dtype, shape in inputs), outputs=()
    )


ONE = signature(("x", "float32", ("N", 3)))


def read(
    path: Path,
    takes: SignatureSection = ONE,
    *,
    label: str = "y",
    features: tuple[str, ...] = (),
    names: tuple[str, ...] = (),
) -> Samples:
    file = DataFile(field="data.evaluation", path=str(path), digest="")
    return read_samples(file, DataFiles(evaluation=file, label=label, features=features), takes, names=names)


def write_table(path: Path) -> Path:
    columns = {"a": X[:, 0], "y": LABELS, "b": X[:, 1], "c": X[:, 2]}
    if path.suffix == ".parquet":
        pq.write_table(pa.table(columns), path)
    else:
        rows = zip(*columns.values(), strict=True)
        path.write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


@pytest.mark.parametrize("name", ["data.csv", "data.parquet"])
def test_the_columns_of_a_table_are_the_only_input_in_their_order(tmp_path: Path, name: str) -> None:
    samples = read(write_table(tmp_path / name))
    np.testing.assert_array_equal(samples.inputs["x"], X.astype(np.float32))
    assert samples.inputs["x"].dtype == np.float32
    assert samples.labels is not None
    assert [int(label) for label in samples.labels] == LABELS.tolist()
    assert samples.names == {"x": ("a", "b", "c")}


def test_features_choose_columns_and_their_order(tmp_path: Path) -> None:
    samples = read(write_table(tmp_path / "data.csv"), features=("c", "a", "b"))
    np.testing.assert_array_equal(samples.inputs["x"][0], [2, 0, 1])


def test_columns_are_taken_in_the_models_own_order_where_it_knows_their_names(tmp_path: Path) -> None:
    table = write_table(tmp_path / "data.csv")
    np.testing.assert_array_equal(read(table, names=("b", "c", "a")).inputs["x"][0], [1, 2, 0])
    np.testing.assert_array_equal(read(table, names=("p", "q", "r")).inputs["x"][0], [0, 1, 2])
    features = read(table, names=("b", "c", "a"), features=("c", "b", "a"))
    np.testing.assert_array_equal(features.inputs["x"][0], [2, 1, 0])


def test_columns_go_to_the_inputs_of_their_names(tmp_path: Path) -> None:
    takes = signature(("b", "float32", ("N", 1)), ("a", "int64", ("N",)))
    samples = read(write_table(tmp_path / "data.csv"), takes)
    assert samples.inputs["b"].shape == (4, 1)
    np.testing.assert_array_equal(samples.inputs["a"], [0, 3, 6, 9])


@pytest.mark.parametrize("names", [("x",), ("X",), ("images",)])
def test_an_array_goes_to_the_only_input(tmp_path: Path, names: tuple[str]) -> None:
    np.savez(tmp_path / "data.npz", **{names[0]: X, "y": LABELS})
    np.testing.assert_array_equal(read(tmp_path / "data.npz").inputs["x"], X.astype(np.float32))


def test_arrays_go_to_the_inputs_of_their_names(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", p=X, q=X[:, :2], other=X)
    samples = read(tmp_path / "data.npz", signature(("q", "float32", ("N", 2)), ("p", "float32", ("N", 3))), label="")
    assert list(samples.inputs) == ["q", "p"]
    assert samples.labels is None


def test_samples_take_the_shape_of_the_input(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.arange(64).reshape(4, 16))
    samples = read(tmp_path / "data.npy", signature(("image", "uint8", ("N", 1, 4, 4))), label="")
    assert samples.inputs["image"].shape == (4, 1, 4, 4)
    assert samples.inputs["image"].dtype == np.uint8


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": X}, "no column 'y', the label: expected one of x"),
        ({"x": X[:, :2], "y": LABELS}, r"expected shape \[N, 3\], got \[4, 2\]"),
        ({"x": X, "y": LABELS[:3]}, "expected the same number"),
        ({"x": X[:0], "y": LABELS[:0]}, "at least one"),
        ({"p": X, "q": X, "y": LABELS}, "can't tell which array is the input 'x'"),
    ],
)
def test_data_that_does_not_fit_is_refused_by_its_field(
    tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(ConfigError, match=message) as caught:
        read(tmp_path / "data.npz")
    assert str(caught.value).startswith("'data.evaluation': ")


@pytest.mark.parametrize("name", ["data.npz", "data.npy", "data.csv", "data.parquet", "data.xlsx"])
def test_a_file_that_is_not_what_its_name_says_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"a,b\n1\n\xff")
    with pytest.raises(ConfigError, match=r"'data.evaluation'"):
        read(tmp_path / name)


def test_a_pickle_inside_of_an_array_file_is_not_read(tmp_path: Path) -> None:
    np.save(tmp_path / "data.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(ConfigError, match="holds Python objects"):
        read(tmp_path / "data.npy", label="")


def refusal(path: Path, **options: object) -> ConfigError:
    with pytest.raises(ConfigError) as caught:
        read(path, **options)
    message = str(caught.value)
    assert message.startswith(f"'data.evaluation': '{path.name}'")
    assert "\n" not in message
    assert "pickle" not in message
    return caught.value


@pytest.mark.parametrize(
    ("row", "got"),
    [("1,,0,2", "an empty cell"), ("1, ,0,2", "an empty cell"), ("1,NaN,0,2", "'NaN'"), ("1,two,0,2", "'two'")],
)
def test_a_cell_of_a_csv_file_that_is_no_number_is_named_by_row_and_column(tmp_path: Path, row: str, got: str) -> None:
    (tmp_path / "data.csv").write_text(f"a,b,y,c\n1,2,0,3\n{row}\n")
    for takes in (ONE, signature(("c", "float32", ("N",)), ("b", "float64", ("N", 1)))):
        error = refusal(tmp_path / "data.csv", takes=takes)
        assert "row 3 (the header is row 1), column 'b': expected float" in str(error)
        assert str(error).endswith(f"got {got}")
        assert error.hint


def test_a_cell_of_a_parquet_file_that_is_no_number_is_named_by_row_and_column(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0, 2.0], "b": ["3", "four"], "y": [0, 1], "c": [1, 2]}), tmp_path / "data.parquet")
    assert "row 2, column 'b': expected float32, got 'four'" in str(refusal(tmp_path / "data.parquet"))


@pytest.mark.parametrize("cell", ["2.5", "x", "", "nan", "inf"])
def test_a_cell_that_is_no_whole_number_is_not_cut_to_one(tmp_path: Path, cell: str) -> None:
    (tmp_path / "data.csv").write_text(f"a,b,y,c\n1,2.0,0,3\n1,{cell},0,3\n")
    error = refusal(tmp_path / "data.csv", takes=signature(("x", "int64", ("N", 3))))
    assert "row 3 (the header is row 1), column 'b': expected int64" in str(error)


def test_a_missing_label_is_named_by_its_row(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b,y,c\n1,2,0,3\n1,2,,3\n")
    assert "row 3 (the header is row 1), column 'y': expected a label" in str(refusal(tmp_path / "data.csv"))


def test_missing_features_of_a_parquet_file_are_not_a_number_as_the_model_may_want_them(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1.0, None], "b": [1, 2], "y": [0, 1], "c": [1, 2]}), tmp_path / "data.parquet")
    assert np.isnan(read(tmp_path / "data.parquet").inputs["x"][1, 0])


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "is empty"),
        (b"\n\n", "has no rows"),
        (b"a,b,y,c\n", "has no rows"),
        (b"a,b,y,c\n1,2,0,3\n\n1,2,0,3\n", ", row 3: expected 4 cells, as in the header, got 0"),
        (b"a,b,y,c\n1,2,0,3,4\n", ", row 2: expected 4 cells, as in the header, got 5"),
        (b"a,b,y,b\n1,2,0,3\n", "has several columns 'b'"),
        (b"a,b\n1,\xff\n", "is not text in UTF-8"),
        (b"a\n" + b"1" * 200_000, "can't be read as csv: field larger than field limit"),
    ],
)
def test_what_is_wrong_with_a_csv_file_is_told_in_a_line(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "data.csv").write_bytes(content)
    assert problem in str(refusal(tmp_path / "data.csv"))


def test_a_csv_file_as_spreadsheets_save_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_bytes(b"\xef\xbb\xbfa,b,y,c\r\n1,2,0,3\r\n\r\n")
    assert read(tmp_path / "data.csv").names == {"x": ("a", "b", "c")}


@pytest.mark.parametrize("name", ["data.npz", "data.npy", "data.parquet"])
@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "flipped"])
def test_a_damaged_file_is_told_in_a_line_with_what_writes_one(tmp_path: Path, name: str, damage: str) -> None:
    path = tmp_path / name
    random = np.random.default_rng(0).standard_normal((100, 3))
    if name == "data.npz":
        np.savez_compressed(path, x=random, y=random[:, 0])
    elif name == "data.npy":
        np.save(path, random)
    else:
        pq.write_table(pa.table({"a": random[:, 0], "b": random[:, 1], "c": random[:, 2]}), path)
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[4:200] = bytes(196)
    path.write_bytes({"empty": b"", "garbage": b"not a model's data" * 9, "cut": data[:-100], "flipped": data}[damage])
    error = refusal(path, label="")
    assert error.hint or damage == "empty"


def test_objects_in_arrays_are_refused_without_the_advice_to_unpickle_them(tmp_path: Path) -> None:
    objects = np.array([[1], [1, 2]], dtype=object)
    np.savez(tmp_path / "data.npz", x=objects, allow_pickle=True)
    np.save(tmp_path / "data.npy", objects, allow_pickle=True)
    for name in ("data.npz", "data.npy"):
        error = refusal(tmp_path / name, label="")
        assert "holds Python objects: expected arrays of numbers or text" in str(error)
        assert "pickle" not in error.hint


def test_an_archive_of_something_else_is_no_npz(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as archive:
        archive.writestr("readme.txt", "hello")
    assert "holds 'readme.txt', which is not an array" in str(refusal(tmp_path / "data.npz"))


def test_generated_samples_are_the_same_each_time_and_fit_the_model() -> None:
    takes = signature(("x", "float32", ("N", 3)), ("n", "int64", ("N", "length")), ("b", "bool", (2, 2)))
    first, second = generate_samples(takes), generate_samples(takes)
    assert {name: array.shape[1:] for name, array in first.inputs.items()} == {"x": (3,), "n": (8,), "b": (2,)}
    assert {name: array.dtype.name for name, array in first.inputs.items()} == {
        "x": "float32",
        "n": "int64",
        "b": "bool",
    }
    for name, array in first.inputs.items():
        np.testing.assert_array_equal(array, second.inputs[name])


def test_generated_samples_have_the_sizes_that_a_target_gives_to_free_dimensions() -> None:
    takes = signature(("x", "float32", ("N", "time", "width")), ("y", "float32", ("N", "depth")))
    made = generate_samples(takes, {"time": 12, "*": 3, "N": 99}).inputs
    assert {name: array.shape[1:] for name, array in made.items()} == {"x": (12, 3), "y": (3,)}


def test_text_is_not_made_up() -> None:
    with pytest.raises(ConversionError, match="which is text"):
        generate_samples(signature(("words", "string", ("N",))))


def test_a_key_depends_on_contents_and_columns_and_not_on_places() -> None:
    def digests(path: str, digest: str, label: str) -> dict[str, object]:
        return DataFiles(evaluation=DataFile(field="data.evaluation", path=path, digest=digest), label=label).digests()

    assert digests("/a", "1", "y") == digests("/b", "1", "y")
    assert digests("/a", "1", "y") != digests("/a", "2", "y")
    assert digests("/a", "1", "y") != digests("/a", "1", "z")
