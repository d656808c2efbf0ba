"""Reading the user's own data: what is read, and one clear line for what cannot be."""

import gzip
import os
import pickle

import numpy as np
import pandas as pd
import pytest

from penalize.errors import ArgumentError, DataError, FileError, FileFormatError, MissingExtraError, PenalizeError
from penalize.path.data.named import load_data


def table(rows=30):
    drawn = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": drawn.normal(40, 10, rows).round(2),
            "rooms": drawn.integers(1, 6, rows),
            "city": drawn.choice(["Bonn", "Köln", "Trier"], rows),
            "kind": drawn.choice(["a", "b"], rows),
            "price": drawn.normal(0, 1, rows),
        }
    )


def write(frame, path):
    name = path.name.lower()
    if name.endswith(".parquet"):
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",")
    return str(path)


@pytest.mark.parametrize("name", ["a.csv", "a.CSV", "a.csv.gz", "a.tsv", "a.tsv.gz", "a.parquet"])
def test_a_table_is_read_the_same_from_every_format(name, tmp_path):
    data = load_data(write(table(), tmp_path / name), "price")
    assert data.task == "regression"
    assert data.source.names == ("age", "rooms", "city=Bonn", "city=Köln", "city=Trier", "kind=a", "kind=b")
    np.testing.assert_allclose(data.y.values, table()["price"])
    np.testing.assert_allclose(data.x["age"], table()["age"])
    data = load_data(write(table(), tmp_path / name), "kind")
    assert (data.task, data.y.classes) == ("classification", ("a", "b"))


def test_columns_are_dropped_or_made_categories(tmp_path):
    path = write(table(), tmp_path / "a.csv")
    data = load_data(path, "price", drop=["age", "city"], categories=["rooms"])
    assert data.source.names == (*(f"rooms={number}" for number in range(1, 6)), "kind=a", "kind=b")
    assert load_data(path, "rooms").task == "classification"
    assert load_data(path, "rooms", "regression").task == "regression"


@pytest.mark.parametrize("name", ["target", "label", "y", "Y", "Target"])
def test_a_column_of_a_usual_name_is_the_target(name, tmp_path):
    data = load_data(write(table().rename(columns={"price": name}), tmp_path / "a.csv"))
    np.testing.assert_allclose(data.y.values, table()["price"])
    assert name not in data.x


def test_missing_values_in_many_spellings_and_dates(tmp_path):
    (tmp_path / "a.csv").write_text(
        "n,text,when,target\n1,a,2024-01-01,0\n,NA,2024-01-03,1\n3,,,0\nNA,b,2024-02-01,1\n"
    )
    data = load_data(str(tmp_path / "a.csv"))
    assert data.source.names == (*("n", "n=(missing)", "text=a", "text=b", "text=(missing)", "when", "when=(missing)"),)
    np.testing.assert_array_equal(data.source.columns[2].values - 19723, [0, 2, np.nan, 31])


def test_arrays_of_an_npz_file(tmp_path):
    drawn = np.random.default_rng(0)
    x, y = drawn.normal(size=(20, 3)), drawn.integers(0, 3, 20)
    np.savez(tmp_path / "a.npz", x=x, y=y, more=x)
    data = load_data(str(tmp_path / "a.npz"))
    assert (data.task, data.y.outputs, data.source.shape) == ("classification", 3, (3,))
    np.testing.assert_array_equal(data.x, x)
    np.savez_compressed(tmp_path / "b.npz", x=drawn.normal(size=(20, 2, 3)), y=y)
    assert load_data(str(tmp_path / "b.npz"), task="regression").source.shape == (2, 3)


def csv(text):
    return lambda path: path.write_bytes(text if isinstance(text, bytes) else text.encode())


def many(columns):
    return csv("\n".join(",".join(row) for row in [list(columns), *zip(*columns.values(), strict=True)]) + "\n")


def npz(**arrays):
    return lambda path: np.savez(path, **arrays)


BAD_FILES = {
    "no header": ("a.csv", csv(""), FileFormatError, "a.csv is empty"),
    "only blank": ("a.csv", csv("\n\n"), FileFormatError, "a.csv must have columns with commas between them"),
    "no rows": ("a.csv", csv("x,target\n"), FileFormatError, "a.csv has columns but no rows"),
    "one column": ("a.csv", csv("a;target\n1;2\n"), FileFormatError, "commas between them, got the header 'a;target'"),
    "twice": ("a.csv", csv("a,a,target\n1,2,3\n"), DataError, "different names, but 'a' is there more than once"),
    "no name": ("a.csv", csv(",a,target\n0,1,2\n"), DataError, "column 1 of .*a.csv has no name"),
    "long rows": ("a.csv", csv("a,target\n1,2,3\n4,5,6\n"), FileFormatError, "rows with more fields than columns"),
    "a long row": ("a.csv", csv("a,target\n1,2\n1,2,3\n"), FileFormatError, "a.csv is no table of text.*line 3"),
    "quotes": ("a.csv", csv('a,target\n"1,2\n'), FileFormatError, "a.csv is no table of text"),
    "latin": ("a.csv", csv("a,target\n\xe9,2\n".encode("latin-1")), FileFormatError, "a.csv is no text in UTF-8"),
    "binary": ("a.csv", csv(bytes(range(256))), FileFormatError, "a.csv is no text in UTF-8"),
    "no gzip": ("a.csv.gz", csv("a,target\n1,2\n"), FileFormatError, "a.csv.gz is no table of text: Not a gzipped"),
    "cut gzip": (
        "a.csv.gz",
        csv(gzip.compress(os.urandom(3000).hex().encode())[:2000]),
        FileFormatError,
        "a.csv.gz is no table of text: Compressed file ended",
    ),
    "no parquet": ("a.parquet", csv("a,target\n1,2\n"), FileFormatError, "a.parquet is no Parquet file that can be"),
    "no target": ("a.csv", csv("a,b\n1,2\n"), ArgumentError, "none is called target, label or y: the columns are 'a'"),
    "two targets": ("a.csv", csv("y,label\n1,2\n"), ArgumentError, "for 'y' and 'label' could be it"),
    "target only": (
        "a.parquet",
        lambda path: pd.DataFrame({"y": [1, 2]}).to_parquet(path),
        DataError,
        "a.parquet has no column but the target 'y'",
    ),
    "constant": (
        "a.csv",
        many({"a": "123", "b": "777", "y": "010"}),
        DataError,
        "column 'b' of .*a.csv holds one value only, .*: leave out by --drop b$",
    ),
    "two constants": (
        "a.csv",
        many({"a": "123", "b c": "777", "d": "xxx", "y": "010"}),
        DataError,
        "columns 'b c', 'd' of .* hold one value only, .*: leave out by --drop 'b c' --drop d$",
    ),
    "all missing": (
        "a.csv",
        many({"a": "123", "b": ["", "NA", ""], "y": "010"}),
        DataError,
        "column 'b' of .* holds nothing but missing values, .*: leave out by --drop b$",
    ),
    "missing targets": (
        "a.csv",
        many({"a": "123", "y": ["1", "", "0"]}),
        DataError,
        "the target 'y' must have a value in every row, but it is missing in 1 of 3, the first row 2",
    ),
    "one class": ("a.csv", many({"a": "123", "y": "ccc"}), DataError, "at least two classes in the target 'y', got 1"),
    "text": (
        "a.csv",
        many({"a": ["1", "2", "x"], "y": "010"}),
        DataError,
        "column 'a' of x holds text among its numbers, 'x' in row 3 the first of 1",
    ),
    "infinity": ("a.csv", many({"a": ["1", "inf", "2"], "y": "010"}), DataError, "'a' of x must hold finite numbers"),
    "lists": (
        "a.parquet",
        lambda path: pd.DataFrame({"a": [[1], [2]], "y": [0, 1]}).to_parquet(path),
        DataError,
        "column 'a' of x must hold numbers, text, bool or dates, got ndarray",
    ),
    "npz keys": ("a.npz", npz(X=np.ones(3), Y=np.ones(3)), DataError, "must hold the arrays 'x' and 'y', got 'X', 'Y'"),
    "npz objects": (
        "a.npz",
        npz(x=np.array([{}, 1], dtype=object), y=np.ones(2)),
        FileFormatError,
        "a.npz is no NPZ file of plain arrays: it holds Python objects, which are never read",
    ),
    "npz of text": ("a.npz", npz(x=np.array([["a"], ["b"]]), y=np.arange(2)), DataError, "x must hold numbers, or be"),
    "npz shapes": ("a.npz", npz(x=np.ones(3), y=np.arange(3)), DataError, r"x must be \(rows, features\), got shape"),
    "no zip": ("a.npz", csv("hello"), FileFormatError, "a.npz is no NPZ file of plain arrays: it is no zip archive"),
    "pickle": ("a.npz", csv(pickle.dumps([1, 2])), FileFormatError, "it is no zip archive"),
}


@pytest.mark.parametrize(("name", "make", "error", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_files_that_cannot_be_used(name, make, error, message, tmp_path):
    path = tmp_path / name
    make(path)
    with pytest.raises(error, match=message) as caught:
        load_data(str(path))
    assert isinstance(caught.value, PenalizeError)
    assert len(str(caught.value)) < 600


def test_files_that_are_not_there(tmp_path):
    write(table(), tmp_path / "houses.csv")
    with pytest.raises(FileError, match=r"there is no file '.*house.csv': did you mean 'houses.csv'\?"):
        load_data(str(tmp_path / "house.csv"), "price")
    with pytest.raises(FileError, match=r"there is no file '.*nowhere/a.csv': there are none"):
        load_data(str(tmp_path / "nowhere" / "a.csv"))
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(FileError, match=r"data must be a file, but .*folder.csv is a folder"):
        load_data(str(tmp_path / "folder.csv"))
    with pytest.raises(ArgumentError, match="data must be one of digits.*or a file that ends in .csv.*got 'a.xlsx'"):
        load_data("a.xlsx")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path):
    (tmp_path / "a.csv").write_text("a,target\n1,2\n")
    (tmp_path / "a.csv").chmod(0)
    with pytest.raises(FileError, match="a.csv cannot be read: Permission denied"):
        load_data(str(tmp_path / "a.csv"))


def test_columns_that_are_not_there(tmp_path):
    path = write(table(), tmp_path / "a.csv")
    for arguments, message in (
        (("prize",), r"target must be a column of the table, got 'prize': did you mean 'price'\?"),
        (("price", "auto", ["citty"]), r"drop must be a column of the table, got 'citty': did you mean 'city'\?"),
        (("price", "auto", ["price"]), "drop must name a column other than the target, got 'price'"),
        (("price", "auto", [], ["kinds"]), r"category must be a column of the table, got 'kinds': did you mean 'kind'"),
        (("price", "sorting"), "task must be one of 'auto', 'classification', 'regression', got 'sorting'"),
    ):
        with pytest.raises(ArgumentError, match=message):
            load_data(path, *arguments)
    with pytest.raises(ArgumentError, match="target names a column of a table, but 'wine' has none: leave it out"):
        load_data("wine", "class")
    np.savez(tmp_path / "a.npz", x=np.ones((2, 2)), y=[0, 1])
    with pytest.raises(ArgumentError, match="drop names a column of a table, but .*a.npz' has none: leave it out"):
        load_data(str(tmp_path / "a.npz"), drop=["x0"])


def test_parquet_without_its_library_says_what_to_install(tmp_path, monkeypatch):
    path = write(table(), tmp_path / "a.parquet")

    def missing(*_, **__):
        raise ImportError("Unable to find a usable engine")

    monkeypatch.setattr(pd, "read_parquet", missing)
    with pytest.raises(MissingExtraError, match=r'Parquet files are read by pyarrow: pip install "penalize\[path\]"'):
        load_data(path, "price")
