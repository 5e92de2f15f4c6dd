"""A table to a cache: the same arrays and tokens whatever the order, workers and interruptions; nothing lost in silence."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Pillow

from voxmix.encoder_runs import Item, Source
from voxmix.errors import InputError, VoxmixError
from voxmix.images.cache import ImageCache
from voxmix.images.finding import find_images
from voxmix.images.prepare import ImagePreparation, prepare_images
from voxmix.images.reading import read_image
from voxmix.images.recipe import ImageRecipe, as_unit, prepare_pixels
from voxmix.images.table import ImageTable
from voxmix.images.upkeep import prune_images, verify_images
from voxmix.texts.report_text import TextRecipe
from voxmix.volumes.preparing.private_lists import Names, read_map

RECIPE = ImageRecipe(pixels=32)
REPORTS = (
    "FINDINGS: Clear lungs. No effusion.",
    "FINDINGS: Left effusion. IMPRESSION: Effusion on the left.",
    "",
    "Clear lungs.",
    "FINDINGS: Right effusion, seen by Dr. Quixote on 3/4/2019. IMPRESSION: Effusion on the right.",
)


def picture(seed: int, rows: int = 40, columns: int = 48) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.kron(rng.integers(20, 250, (rows // 4, columns // 4)), np.ones((4, 4))).astype(np.uint8)


@pytest.fixture
def films(tmp_path: Path) -> Path:
    """Ten films of five persons, two films each, in a table with reports and labels."""
    folder = tmp_path / "data"
    folder.mkdir()
    rows = []
    for number in range(10):
        Pillow.fromarray(picture(number)).save(folder / f"{number}.png")
        side = "validation" if number < 4 else "train"
        report = REPORTS[number % 5].replace('"', "")
        rows.append(f'{number}.png,"{report}",person{number // 2},{"AB"[number % 2]},{side},{number % 2},')
    (folder / "films.csv").write_text(
        "image,report,person,domain,split,effusion,tube\n" + "\n".join(rows), encoding="utf-8"
    )
    return folder


def prepared(table: ImageTable, folder: Path, *, texts: bool = False, **more: object) -> ImagePreparation:
    return prepare_images(
        table, folder, RECIPE, texts=TextRecipe() if texts else None, vocabulary=300, **more
    )  # type: ignore[arg-type]


def test_arrays_are_what_the_recipe_makes_of_each_file(films: Path, tmp_path: Path) -> None:
    done = prepared(find_images(films), tmp_path / "cache")
    cache = ImageCache.open(tmp_path / "cache")
    assert (done.made, len(cache.items), cache.digest) == (10, 10, done.cache.digest)
    expected = {
        as_unit(prepare_pixels(read_image(films / f"{n}.png"), RECIPE)).tobytes(): ("AB"[n % 2], n % 2)
        for n in range(10)
    }
    for item in cache.items:
        array = cache.array(item)
        assert (array.dtype, array.shape) == (np.float16, item.shape)
        assert expected.pop(array.tobytes()) == (item.domain, item.labels["effusion"])
    assert not expected
    assert cache.label_names == ("effusion",)
    assert verify_images(cache) == ()


def test_the_cache_is_a_source(films: Path, tmp_path: Path) -> None:
    cache = prepared(find_images(films), tmp_path / "cache").cache
    assert isinstance(cache, Source)
    assert all(isinstance(item, Item) for item in cache.items)
    assert [len(cache.tokens(item)) for item in cache.items] == [0] * 10
    assert all(len(cache.label_tokens(item)) == 0 for item in cache.items)
    assert (cache.axes, cache.tokenizer) == (2, "")
    persons = Counter(item.person for item in cache.items)
    assert sorted(persons.values()) == [2] * 5


def test_what_was_made_is_kept_and_order_and_workers_change_nothing(films: Path, tmp_path: Path) -> None:
    table = find_images(films)
    first = prepared(table, tmp_path / "one", salt="s" * 32)
    again = prepared(table, tmp_path / "one", salt="s" * 32)
    assert (first.made, again.made) == (10, 0)
    shuffled = replace(table, records=table.records[::-1])
    other = prepared(shuffled, tmp_path / "two", salt="s" * 32, workers=2)
    assert other.cache.digest == first.cache.digest
    assert (tmp_path / "one/index.json").read_bytes() == (tmp_path / "two/index.json").read_bytes()
    finer = prepare_images(table, tmp_path / "one", ImageRecipe(pixels=40))
    assert (finer.made, finer.cache.digest != first.cache.digest) == (10, True)


def test_equal_images_are_kept_once_and_validation_keeps_them(films: Path, tmp_path: Path) -> None:
    text = (films / "films.csv").read_text(encoding="utf-8")
    (films / "copy.png").write_bytes((films / "0.png").read_bytes())
    Pillow.fromarray(picture(1)).save(films / "saved again.png", compress_level=0)
    (films / "films.csv").write_text(
        f"{text}\ncopy.png,,p8,A,train,1,\nsaved again.png,,p9,B,validation,1,\n", encoding="utf-8"
    )
    done = prepared(find_images(films), tmp_path / "cache")
    assert Counter(aside.reason for aside in done.set_aside) == {
        "the same image as another on the other side of the split": 1,
        "the same image as another": 1,
    }
    assert len(done.cache.items) == 10


def test_what_cannot_be_read_is_named_set_aside_and_counted(films: Path, tmp_path: Path) -> None:
    (films / "5.png").write_bytes((films / "5.png").read_bytes()[:60])
    Pillow.fromarray(np.full((40, 40), 9, np.uint8)).save(films / "6.png")
    names = Names.beside(tmp_path / "cache")
    done = prepared(find_images(films), tmp_path / "cache", names=names)
    assert len(done.cache.items) == 8
    reasons = {aside.path.name: aside.reason for aside in done.set_aside}
    assert "truncated" in reasons["5.png"]
    assert "same value" in reasons["6.png"]
    assert "5.png" in names.set_aside_path.read_text(encoding="utf-8")
    assert len(ImageCache.open(tmp_path / "cache").set_aside) == 2
    for number in range(4):
        (films / f"{number}.png").write_bytes(b"x")
    with pytest.raises(InputError, match="no validation image is left to prepare"):
        prepared(find_images(films), tmp_path / "cache")


def test_a_table_without_a_split_is_refused(films: Path, tmp_path: Path) -> None:
    table = find_images(films)
    bare = replace(table, records=tuple(replace(r, split="") for r in table.records))
    with pytest.raises(InputError, match="is not split"):
        prepared(bare, tmp_path / "cache")
    prepared(bare.split(seed=0), tmp_path / "cache")


def test_damaged_and_missing_files_are_named(films: Path, tmp_path: Path) -> None:
    cache = prepared(find_images(films), tmp_path / "cache").cache
    changed, cut, gone, _ = (cache.root / item.file for item in cache.items[:4])
    changed.write_bytes(changed.read_bytes()[:-1] + b"\0")
    cut.write_bytes(cut.read_bytes()[:-10])
    gone.unlink()
    wrong = dict(verify_images(cache))
    assert {Path(name).name: reason for name, reason in wrong.items()} == {
        changed.name: "its bytes changed",
        cut.name: "its bytes changed",
        gone.name: "missing",
    }
    with pytest.raises(VoxmixError, match="prepare again"):
        cache.array(cache.items[1])
    with pytest.raises(VoxmixError, match="prepare again"):
        cache.array(cache.items[2])
    again = prepared(find_images(films), tmp_path / "cache")
    assert again.made == 2  # the one that is gone, and the one that cannot be read
    assert [Path(name).name for name, _ in verify_images(again.cache)] == [changed.name]


@pytest.mark.parametrize("damage", ["", "{", '{"kind": "prepared images", "format": 1}', '{"kind": "x"}'])
def test_a_damaged_index_is_said(films: Path, tmp_path: Path, damage: str) -> None:
    prepared(find_images(films), tmp_path / "cache")
    (tmp_path / "cache/index.json").write_text(damage, encoding="utf-8")
    with pytest.raises(InputError, match=r"index\.json"):
        ImageCache.open(tmp_path / "cache")
    with pytest.raises(InputError, match="run prepare first"):
        ImageCache.open(tmp_path / "nothing")


def test_killed_at_any_moment_it_goes_on(films: Path, tmp_path: Path) -> None:
    """Killed with SIGKILL after its first arrays, the next call makes the rest, and the cache is the same."""
    script = (
        "import sys, time\nfrom pathlib import Path\nfrom voxmix.images.finding import find_images\n"
        "from voxmix.images.prepare import prepare_images\nfrom voxmix.images.recipe import ImageRecipe\n"
        "def slow(done, total):\n    time.sleep(0.2 * (done > 2))\n"
        "prepare_images(find_images(Path(sys.argv[1])), Path(sys.argv[2]), ImageRecipe(pixels=32), salt='s' * 32, progress=slow)\n"
    )
    root = tmp_path / "killed"
    process = subprocess.Popen([sys.executable, "-c", script, str(films), str(root)])
    while len(list(root.glob("images/*/*.npy"))) < 3 and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (root / "index.json").exists()
    done = prepared(find_images(films), root, salt="s" * 32)
    prepared(find_images(films), tmp_path / "whole", salt="s" * 32)
    assert 0 < done.made < 10
    assert (root / "index.json").read_bytes() == (tmp_path / "whole/index.json").read_bytes()


def test_names_may_not_lie_in_the_cache(films: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="lies in the cache"):
        prepared(find_images(films), tmp_path / "cache", names=Names(folder=tmp_path / "cache/private"))


# --- texts ----------------------------------------------------------------------------------------------------------


def test_tokens_are_those_of_the_report_without_names(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    done = prepared(find_images(films), tmp_path / "cache", texts=True)
    cache = ImageCache.open(tmp_path / "cache")
    tokenizer = cache.text_tokenizer
    texts = sorted({tokenizer.decode(cache.tokens(item)) for item in cache.items if item.has_text})
    assert texts == [
        "clear lungs.",
        "clear lungs. no effusion.",
        "left effusion. effusion on the left.",
        "right effusion, seen by dr. [NAME] on [DATE] . effusion on the right.",
    ]
    for item in cache.items:
        tokens = cache.tokens(item)
        assert tokens.dtype == np.int64
        if item.has_text:
            assert (tokens[0], tokens[-1]) == (tokenizer.begin, tokenizer.end)
            assert tokens.max() < tokenizer.vocabulary
        else:
            assert len(tokens) == 0
    assert done.texts is not None
    assert (done.texts.texts, done.texts.empty, done.texts.different, done.texts.commonest) == (8, 2, 4, 2)
    assert dict(done.texts.replaced) == {"NAME": 2, "DATE": 2}
    assert verify_images(cache) == ()


def test_label_tokens_name_what_is_present(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    table = find_images(films)
    labels = [
        {"pleural_effusion": 1, "edema": 1},
        {"edema": 0},
        {},
        {"edema": 1, "pleural_effusion": 1, "mass": 0},
    ]
    records = [replace(r, report="", labels=labels[n % 4]) for n, r in enumerate(table.records)]
    cache = prepared(replace(table, records=tuple(records)), tmp_path / "cache", texts=True).cache
    said = {"edema, pleural effusion": {2}, "no finding": {0}, "": {None}}
    for item in cache.items:
        text = cache.text_tokenizer.decode(cache.label_tokens(item)) if len(cache.label_tokens(item)) else ""
        assert {sum(item.labels.values()) if item.labels else None} <= said[text]
        assert not item.has_text


def test_the_tokenizer_is_fitted_on_the_training_side_alone(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    table = find_images(films)

    def with_report(side: str, word: str) -> ImageTable:
        return replace(
            table,
            records=tuple(
                replace(r, report=f"{word} {word}") if r.split == side else r for r in table.records
            ),
        )

    def tokenizer(made: ImageTable, name: str) -> str:
        return prepared(made, tmp_path / name, texts=True).cache.tokenizer

    plain = tokenizer(table, "a")
    assert tokenizer(with_report("validation", "xylophone"), "b") == plain
    assert tokenizer(with_report("train", "xylophone"), "c") != plain


def test_a_tokenizer_that_changed_is_refused(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    from voxmix.texts.tokenizer import fit_tokenizer

    table, root = find_images(films), tmp_path / "cache"
    cache = prepared(table, root, texts=True).cache
    fewer = replace(table, records=table.records[:6] + table.records[8:])
    assert prepared(fewer, root, texts=True).cache.tokenizer == cache.tokenizer
    other = fit_tokenizer(["quite other words", "quite other words"], vocabulary=280)
    with pytest.raises(InputError, match="the tokenizer changed"):
        prepared(table, root, texts=True, tokenizer=other)
    given = prepared(table, tmp_path / "given", texts=True, tokenizer=other).cache
    assert given.tokenizer == other.digest
    file = next((root / "texts").glob("tokenizer-*.json"))
    value = json.loads(file.read_text(encoding="utf-8"))
    value["model"]["merges"].pop()
    file.write_text(json.dumps(value), encoding="utf-8")
    with pytest.raises(InputError, match="changed since the texts were made"):
        ImageCache.open(root)
    file.unlink()
    with pytest.raises(InputError, match=r"no tokenizer\.json at"):
        ImageCache.open(root)


def test_reports_of_nothing_and_of_fifty_thousand_words(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    table = find_images(films)
    long = "Clear lungs. " * 25_000
    records = [
        replace(r, report=long if n == 0 else "Clear lungs." if n < 6 else " ")
        for n, r in enumerate(table.records)
    ]
    done = prepared(replace(table, records=tuple(records)), tmp_path / "cache", texts=True)
    assert done.texts is not None
    assert (done.texts.texts, done.texts.empty, done.texts.cut) == (6, 4, 1)
    assert "1 reports were cut" in "\n".join(done.texts.lines())
    lengths = [
        len(done.cache.text_tokenizer.decode(done.cache.tokens(i)).split())
        for i in done.cache.items
        if i.has_text
    ]
    assert max(lengths) == 400
    equal = [replace(r, report="Clear lungs.") for r in table.records]
    said = prepared(replace(table, records=tuple(equal)), tmp_path / "equal", texts=True).texts
    assert said is not None
    assert "all texts are equal" in "\n".join(said.lines())
    none = [replace(r, report="HISTORY: Cough.", labels={}) for r in table.records]
    empty = prepared(replace(table, records=tuple(none)), tmp_path / "none", texts=True)
    assert (empty.cache.tokenizer, empty.texts.texts if empty.texts else None) == ("", 0)


def test_damaged_tokens_are_named(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    cache = prepared(find_images(films), tmp_path / "cache", texts=True).cache
    file = next((cache.root / "texts").glob("*.tokens.npy"))
    whole = bytearray(file.read_bytes())
    whole[-2] ^= 1
    file.write_bytes(whole)
    assert [reason for _, reason in verify_images(ImageCache.open(cache.root))] == ["its bytes changed"]
    file.write_bytes(whole[:50])
    with pytest.raises(VoxmixError, match="prepare again"):
        ImageCache.open(cache.root).tokens(next(item for item in cache.items if item.has_text))


# --- privacy --------------------------------------------------------------------------------------------------------

WORD = "PLANTED"
DAY = "19310204"


@pytest.mark.filterwarnings("ignore")  # pydicom warns of planted values.
def test_no_identifier_reaches_what_is_written_or_said(tmp_path: Path) -> None:
    """Planted in every text of a header, in names, paths, persons and reports; no byte that is written holds it."""
    pytest.importorskip("tokenizers")
    pytest.importorskip("pydicom")
    pytest.importorskip("SimpleITK")
    folder = tmp_path / f"{WORD}_Hospital"
    folder.mkdir()
    rows = []
    for number in range(8):
        name = f"{WORD}_{number}.dcm"
        _planted(folder / name, number)
        report = (
            f"FINDINGS: Seen by Dr. {WORD.title()} on 2/4/1931. MRN: {WORD}{DAY}. Mr. {WORD} has edema {number}. "
            f"IMPRESSION: Edema. Signed by {WORD.title()}, {DAY}, call 555-123-4567."
        )
        rows.append(f'{name},"{report}",{WORD}{number // 2},{"train" if number > 3 else "val"}')
    rows += [f"{WORD}_gone.dcm,,{WORD}9,train", f'{WORD}_cut.dcm,"{WORD}",{WORD}8,train']
    (folder / f"{WORD}_cut.dcm").write_bytes((folder / f"{WORD}_1.dcm").read_bytes()[:-6000])
    (folder / f"{WORD}.csv").write_text("image,report,person,split\n" + "\n".join(rows), encoding="utf-8")
    table = find_images(folder / f"{WORD}.csv")
    names = Names.beside(tmp_path / "cache")
    done = prepared(table, tmp_path / "cache", texts=True, names=names)
    assert (len(done.cache.items), len(done.set_aside)) == (8, 2)
    assert done.texts is not None
    said = "\n".join(
        (*table.summary()[1:], *done.remarks, *done.texts.lines(), repr(done.cache), repr(table))
    )
    known = read_map(names.map_path)
    assert known is not None
    assert set(known.subjects.values()) == {f"{WORD}{n}" for n in range(4)}
    assert names.map_path.stat().st_mode & 0o077 == 0
    written = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert len(written) > 16
    texts = [done.cache.text_tokenizer.decode(done.cache.tokens(item)) for item in done.cache.items]
    contents = [path.read_bytes() + str(path.relative_to(tmp_path)).encode() for path in written]
    for content in (*contents, said.encode(), *(text.encode() for text in texts)):
        for secret in (WORD, DAY, "1931", "555-123", "1.2.826.0.1.99887766", known.salt):
            assert secret.lower().encode() not in content.lower()


def _planted(path: Path, seed: int) -> None:
    import pydicom as dicom

    meta = dicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = dicom.uid.ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = dicom.uid.DigitalXRayImageStorageForPresentation
    meta.MediaStorageSOPInstanceUID = f"1.2.826.0.1.99887766.{seed}"
    data = dicom.dataset.FileDataset("", {}, file_meta=meta, preamble=WORD.encode().ljust(128))
    for tag, (vr, vm, *_) in dicom.datadict.DicomDictionary.items():
        if (
            tag >> 16 <= 2
            or vm.startswith("0")
            or dicom.datadict.keyword_for_tag(tag) == "SpecificCharacterSet"
        ):
            continue
        if vr in ("PN", "LO", "SH", "ST", "LT", "UT", "UC"):
            data.add_new(tag, vr, f"{WORD}{tag:08X}")
        elif vr == "DA":
            data.add_new(tag, vr, DAY)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    data.Modality, data.SamplesPerPixel, data.PhotometricInterpretation = "DX", 1, "MONOCHROME1"
    data.PresentationLUTShape = "INVERSE"
    data.Rows, data.Columns, data.BitsAllocated, data.BitsStored, data.HighBit = 40, 48, 16, 12, 11
    data.PixelRepresentation = 0
    data.PixelData = (picture(seed).astype(np.uint16) * 8).tobytes()
    data.save_as(path, enforce_file_format=True)


def test_where_the_process_runs_is_not_written(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(films)
    prepared(find_images(Path("films.csv")), tmp_path / "cache")
    index = (tmp_path / "cache/index.json").read_text(encoding="utf-8")
    assert str(tmp_path) not in index
    assert os.environ.get("HOME", "/root") not in index


def test_names_of_header_and_table_are_taken_out_of_the_report(
    tmp_path: Path, write_dicom: Callable[..., None]
) -> None:
    """The person's surname, bare, in both of their reports: once known by a header, once by the table."""
    pytest.importorskip("tokenizers")
    rng = np.random.default_rng(0)
    rows = ["image,person,surname,report,split"]
    for number in range(6):
        write_dicom(
            tmp_path / f"{number}.dcm",
            rng.integers(0, 4000, (24, 24), dtype=np.uint16),
            PatientName="Schnabelmeier^Hildegard" if number == 0 else f"Nobody{number}^X",
            PatientID=f"HOSP{number}8813",
        )
        who = ("a", "a", "b", "c", "d", "e")[number]
        rows.append(
            f"{number}.dcm,{who},{'Wandersleb' if number == 2 else ''},"
            f"Findings: Schnabelmeier has a tube. Wandersleb is stable. Number HOSP{number}8813.,"
            f"{'validation' if number > 3 else 'train'}"
        )
    (tmp_path / "films.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    made = prepare_images(
        find_images(tmp_path / "films.csv"), tmp_path / "cache", ImageRecipe(pixels=16), texts=TextRecipe()
    )
    texts = {
        item.text: made.cache.text_tokenizer.decode(made.cache.tokens(item)) for item in made.cache.items
    }
    own = [text for text in texts.values() if "schnabelmeier" not in text]
    assert len(own) == 1  # of person a, the same text for both images
    assert sum("wandersleb" not in text for text in texts.values()) == 1
    assert not any("8813" in text for text in texts.values())


def test_prune_removes_other_recipes_and_former_texts_and_nothing_else(films: Path, tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    folder = tmp_path / "cache"
    first = prepared(find_images(films), folder, texts=True).cache
    before = {path for path in folder.rglob("*") if path.is_file()}
    assert prune_images(first).files == ()
    table = find_images(films)
    fewer = replace(table, records=tuple(replace(record, report="") for record in table.records[1:]))
    other = ImageRecipe(pixels=16)
    now = prepare_images(fewer, folder, other, texts=TextRecipe(), vocabulary=300).cache
    assert now.texts != first.texts
    planned = prune_images(now, dry_run=True)
    names = {str(path.relative_to(folder)) for path in before}
    arrays = {name for item in first.items for name in (item.file, item.file.replace(".npy", ".json"))}
    assert arrays <= set(planned.files) <= names
    assert f"texts/{first.texts}.tokens.npy" in planned.files
    assert f"texts/tokenizer-{first.tokenizer}.json" not in planned.files
    assert planned.bytes == sum((folder / name).stat().st_size for name in planned.files)
    assert all((folder / name).exists() for name in planned.files)
    assert prune_images(now) == planned
    assert not any((folder / name).exists() for name in planned.files)
    again = ImageCache.open(folder)
    assert verify_images(again) == ()
    assert prune_images(again).files == ()
    assert [again.array(item).shape for item in again.items] == [item.shape for item in now.items]
